/**
 * Opens connections at a steady pace, whatever becomes of those before, and says at the end of its input how they ended:
 * one line of JSON, the counts of `connected`, `timeout` and each error's code. Arguments: milliseconds between two, and a
 * URL.
 */
import { connect } from "node:net";

const [pauseMs, url] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
/** Less than the second after which TCP sends a lost SYN again. */
const PATIENCE_MS = 900;
const counts = { connected: 0, timeout: 0 };

function knock() {
  const socket = connect({ host, port: Number(port || 80), timeout: PATIENCE_MS });
  const end = (how) => {
    counts[how] = (counts[how] ?? 0) + 1;
    socket.destroy();
  };
  socket.once("connect", () => end("connected"));
  socket.once("timeout", () => end("timeout"));
  socket.once("error", ({ code }) => end(code));
}

const timer = setInterval(knock, Number(pauseMs));
process.stdin.resume().once("end", () => {
  clearInterval(timer);
  process.once("beforeExit", () => console.log(JSON.stringify(counts)));
});
