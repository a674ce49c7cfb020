/** Lies in a job folder and is no job file: discovery leaves tests out. */
