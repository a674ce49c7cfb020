Deno.kill(Deno.pid, "SIGKILL");
export default 0;
