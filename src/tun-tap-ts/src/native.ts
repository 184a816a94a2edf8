/** Loads the addon and types what it exports. Everything else in this package goes through here. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { TunTapError } from "./errors.js";

/** Opaque handle of one engine. */
export interface EngineHandle {
  readonly engine: unique symbol;
}

/** The addon's functions; see native/module.c. They throw `Error` with `code` (errno) and the failed step as message. */
export interface Native {
  openTap(
    name: string,
    netns: string,
    tun: boolean,
    vnet: boolean,
    persist: boolean,
    offloads: boolean,
  ): { readonly fd: number; readonly name: string; readonly granted: number };
  setPersist(fd: number, persist: boolean): void;
  moveToNetns(name: string, netns: string): void;
  openTcp(netns: string, address: string, port: number, ipv6Only: boolean): number;
  openUdp(
    address: string,
    port: number,
    reuse: boolean,
    gro: boolean,
    sndbufBytes: number,
    rcvbufBytes: number,
  ): { readonly fd: number; readonly port: number };
  closeFd(fd: number): void;
  ioCreate(
    arena: Uint8Array,
    rx: Int32Array,
    tx: Int32Array,
    rxBytes: number,
    budgetFrames: number,
    budgetBytes: number,
    onBatch: (frameCount: number) => number,
    onPortError: (port: number, errno: number) => void,
  ): EngineHandle;
  ioReceive(io: EngineHandle): void;
  ioAdd(
    io: EngineHandle,
    fd: number,
    kind: number,
    vnet: boolean,
    gro: boolean,
    merge: boolean,
    uso: boolean,
  ): number;
  ioRemove(io: EngineHandle, port: number): void;
  ioRelease(io: EngineHandle, port: number): void;
  ioFlush(io: EngineHandle, frameCount: number): void;
  ioStats(io: EngineHandle, port: number, counters: Float64Array): boolean;
  ioRef(io: EngineHandle, keepsLoopAlive: boolean): void;
  ioClose(io: EngineHandle): void;
  ioSetNiceness(io: EngineHandle, niceness: number): void;
  ioTakeWhole(io: EngineHandle, peer: number, takes: boolean): boolean;
}

let loaded: Native | undefined;

/**
 * The addon, loaded on first use.
 *
 * @throws TunTapError `ADDON_MISSING` when it was not built for this Node.js and processor.
 */
export function native(): Native {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  const root = fileURLToPath(new URL("..", import.meta.url));
  try {
    const load = require("node-gyp-build") as (directory: string) => Native;
    loaded = load(root);
    return loaded;
  } catch (cause) {
    throw new TunTapError(
      "ADDON_MISSING",
      `tun-tap-ts: its native addon is not built for this system: install g++, make and python3, then run \`npm rebuild tun-tap-ts\``,
      { cause },
    );
  }
}
