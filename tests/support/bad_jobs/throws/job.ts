throw new TypeError("This file cannot be loaded");
