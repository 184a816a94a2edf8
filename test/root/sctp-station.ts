/**
 * A program that speaks SCTP over IPv6 through a raw socket, for kernels that do not: `serve PORT NAME` says the name to all
 * who ask, `ask IP PORT COUNT` asks over so many associations, one after the other, and prints who has answered each.
 */
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import type { Packet } from "../sim/packet.js";
import { askSctp, SCTP, type SctpEnd, serveSctp } from "../sim/sctp.js";
import type { Station } from "../sim/station.js";

/** The part of raw-socket's API that is used; the package has no types. */
interface RawSocket {
  on(event: "message", listener: (payload: Uint8Array, source: string) => void): void;
  send(bytes: Uint8Array, offset: number, length: number, to: string, done: (error?: Error) => void): void;
  close(): void;
}
interface RawSockets {
  readonly AddressFamily: { readonly IPv6: number };
  createSocket(options: { addressFamily: number; protocol: number; bufferSize: number }): RawSocket;
}

const raw = createRequire(import.meta.url)("raw-socket") as RawSockets;
const socket = raw.createSocket({
  addressFamily: raw.AddressFamily.IPv6,
  protocol: SCTP,
  bufferSize: 65_535,
});
const protocols = new Map<number, (packet: Packet) => void>();
const fail = (error?: Error | null) => {
  if (error) console.log(error.message);
};
/** What SCTP needs of a station: the kernel is the rest of it. */
const station = {
  protocols,
  send: (to: string, _protocol: number, bytes: Uint8Array) =>
    // The socket keeps the buffer until it is sent.
    socket.send(Buffer.from(bytes), 0, bytes.length, to, fail),
} as unknown as Station;
socket.on("message", (payload, src) => {
  protocols.get(SCTP)?.({ src, body: Uint8Array.from(payload) } as Packet);
});

const ANSWER_MS = 2000;

async function answerOf(end: SctpEnd): Promise<string> {
  for (const until = Date.now() + ANSWER_MS; Date.now() < until; await sleep(5)) {
    if (end.input !== "") {
      end.close();
      return end.input;
    }
    if (end.state === "aborted") return "aborted";
  }
  return "timeout";
}

const [command, where = "", port = "", count = ""] = process.argv.slice(2);
if (command === "serve") {
  serveSctp(station, Number(where), (end) => {
    end.onData = () => end.say(port);
  });
  console.log("serves");
} else {
  for (let index = 0; index < Number(count); index++)
    console.log(
      await answerOf(askSctp(station, where, Number(port), 50_000 + (process.pid % 1000) * 10 + index)),
    );
  socket.close();
}
