/** The EchoSocket of a real machine: ICMP through `raw-socket`, an optional dependency that needs root. */
import { randomBytes, randomInt } from "node:crypto";
import { formatIpv4 } from "../wire/index.js";
import { buildEchoRequest, type EchoIdentity, parseAnswer, WANTED_TYPES } from "./icmp-echo.js";
import type { EchoOutcome, EchoSocket } from "./path-mtu.js";

/** Linux's numbers (linux/in.h, linux/icmp.h) for what raw-socket has no names for. */
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
/** Sets DF and takes no notice of the path MTU that the kernel remembers: it is what we want to find out. */
const IP_PMTUDISC_PROBE = 3;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
/** raw-socket's own default of 4096 would cut larger packets off. */
const RECEIVE_BUFFER_BYTES = 65535;
const MAX_SEQUENCE = 0xffff;
/** strerror(EMSGSIZE): raw-socket passes on the text only. */
const MESSAGE_TOO_LONG = "Message too long";

/** The part of raw-socket's API that is used; the package has no types. */
interface RawSocketModule {
  readonly Protocol: { readonly ICMP: number };
  createSocket(options: { protocol: number; bufferSize: number }): RawSocket;
}

interface RawSocket {
  on(event: "message", listener: (buffer: Buffer, source: string) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    done: (error: Error | null) => void,
  ): void;
  setOption(level: number, option: number, value: number): void;
  close(): void;
}

interface PendingEcho {
  readonly peer: number;
  readonly sentAt: number;
  readonly finish: (outcome: EchoOutcome) => void;
}

/**
 * Opens a raw ICMP socket.
 * @throws Error that says why probing is unavailable: the package is not installed, or the process is not privileged
 */
export async function openRawEcho(): Promise<EchoSocket> {
  const module = await loadRawSocket();
  try {
    const socket = module.createSocket({ protocol: module.Protocol.ICMP, bufferSize: RECEIVE_BUFFER_BYTES });
    return new RawEcho(socket);
  } catch (error) {
    throw new Error(`no raw ICMP socket (${messageOf(error)}); run as root or with CAP_NET_RAW`);
  }
}

async function loadRawSocket(): Promise<RawSocketModule> {
  // A variable, because the package is optional and has no declarations for the compiler to find.
  const name: string = "raw-socket";
  try {
    const loaded: { default: RawSocketModule } = await import(name);
    return loaded.default;
  } catch (error) {
    throw new Error(`the optional package raw-socket cannot be loaded (${messageOf(error).split("\n")[0]})`);
  }
}

class RawEcho implements EchoSocket {
  readonly #identity: EchoIdentity = { id: randomInt(1, 0x10000), token: randomBytes(8) };
  readonly #pending = new Map<number, PendingEcho>();
  #sequence = 0;
  #closed = false;

  constructor(private readonly socket: RawSocket) {
    socket.setOption(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    // Linux drops the types whose bit is set.
    const wanted = WANTED_TYPES.reduce<number>((mask, type) => mask | (1 << type), 0);
    socket.setOption(SOL_RAW, ICMP_FILTER, ~wanted >>> 0);
    // The buffer is raw-socket's, refilled by the next packet: it is read here and now and never kept.
    socket.on("message", (packet) => this.#receive(packet));
    // Failed reads, such as EAGAIN; failed sends are told to the sender.
    socket.on("error", () => undefined);
  }

  echo(peer: number, sizeBytes: number, timeoutMs: number): Promise<EchoOutcome> {
    if (this.#closed) return Promise.resolve({ type: "unreachable", reason: "the socket is closed" });
    this.#sequence = (this.#sequence % MAX_SEQUENCE) + 1;
    const sequence = this.#sequence;
    const request = buildEchoRequest(this.#identity, sequence, sizeBytes);
    return new Promise((resolve) => {
      const timer = setTimeout(() => finish({ type: "timeout" }), timeoutMs);
      const finish = (outcome: EchoOutcome) => {
        clearTimeout(timer);
        this.#pending.delete(sequence);
        resolve(outcome);
      };
      this.#pending.set(sequence, { peer, sentAt: performance.now(), finish });
      this.socket.send(request, 0, request.length, formatIpv4(peer), (error) => {
        if (error?.message === MESSAGE_TOO_LONG) finish({ type: "too-big" });
        else if (error) finish({ type: "unreachable", reason: error.message });
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.socket.close();
    for (const { finish } of this.#pending.values())
      finish({ type: "unreachable", reason: "the socket is closed" });
  }

  #receive(packet: Buffer): void {
    const answer = parseAnswer(packet, this.#identity);
    const pending = answer && this.#pending.get(answer.sequence);
    if (!pending || pending.peer !== answer.peer) return;
    if (answer.type === "reply") pending.finish({ type: "reply", rttMs: performance.now() - pending.sentAt });
    else if (answer.type === "unreachable") pending.finish({ type: "unreachable", reason: answer.reason });
    else
      pending.finish(
        answer.mtuBytes === undefined ? { type: "too-big" } : { type: "too-big", mtuBytes: answer.mtuBytes },
      );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
