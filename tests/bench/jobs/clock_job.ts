/** Says when its code began, to the microsecond, on the wall clock that all processes of a machine share. */
import { defineJob } from "milvaion";

export default defineJob({
  name: "ClockJob",
  description: "Returns the moment at which it began",
  run: () => performance.timeOrigin + performance.now(),
});
