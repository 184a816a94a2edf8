/** What a station is told, and what it tells. */
import type { Quoted } from "./packet.js";

/** One network card. */
export interface Interface {
  readonly name: string;
  readonly mac: string;
  readonly mtuBytes: number;
  /** The offload header is missing when the frame is plain. */
  transmit(frame: Uint8Array, vnetHeader?: Uint8Array): void;
}

/** Where packets to a prefix go: directly, or by a gateway. */
export interface StationRoute {
  readonly prefix: string;
  readonly via: Interface;
  readonly gateway?: string;
  /** Source of what the station sends that way; its first address when missing. */
  readonly src?: string;
}

export interface IcmpError {
  /** Who sent it. */
  readonly from: string;
  readonly type: number;
  readonly code: number;
  /** For fragmentation needed, and packet too big. */
  readonly mtuBytes: number;
  readonly quoted: Quoted;
}

export interface Datagram {
  readonly from: string;
  readonly sport: number;
  readonly to: string;
  readonly dport: number;
  readonly payload: Uint8Array;
}

export interface SendOptions {
  readonly sport?: number;
  readonly ttl?: number;
  readonly df?: boolean;
  /** Send UDP without checksum. */
  readonly plain?: boolean;
  /** Claim another source. */
  readonly src?: string;
  /** IPv6: options for the destination in front, in units of eight bytes. */
  readonly optionUnits?: number;
}
