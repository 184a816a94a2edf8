/**
 * Connections in which most packets change nothing but counters and the deadline. Closures, made once over their arrays:
 * V8 then compiles the addresses and lengths of those into the code.
 */
import { IpProtocol } from "../../wire/index.js";
import { type FlowTable, Meta, REPLY_TUPLE, WORDS_PER_ENTRY, Word } from "./flow-table.js";
import { type ConntrackClock, makeTouchAck, type TouchAck } from "./plain-ack.js";
import { State } from "./state.js";

export interface SettledFlows {
  /**
   * The reference of a TCP or UDP connection that no plain packet of it takes to another state; 0 when there is none.
   * Takes signed addresses.
   */
  find(protocol: number, src: number, dst: number, ports: number): number;
  /** Whether the reference, which may be any or 0, is the one that {@link find} would return. */
  isAt(reference: number, protocol: number, src: number, dst: number, ports: number): boolean;
  /** Counts a packet of such a UDP connection and puts its end off. */
  touchUdp(reference: number, lengthBytes: number): void;
  /** The same with a segment of a TCP connection, if it is a plain one: see plain-ack.ts. */
  readonly touchAck: TouchAck;
}

const SETTLED = Meta.seenReply | Meta.assured;
const SETTLED_TCP = (State.established << Meta.stateShift) | SETTLED;
const SETTLED_UDP = (State.udpStream << Meta.stateShift) | SETTLED;
const STATE_MASK = Meta.stateMask | SETTLED;
// V8 compiles a module's own constants into the code, but looks up imported ones each time.
const ENTRY_WORDS = WORDS_PER_ENTRY;
/** References of a flow table: see MAX_CAPACITY. */
const REFERENCE = 0x1ffffff;
const { dst: DST, ports: PORTS, meta: META, deadline: DEADLINE } = Word;
const { packets: PACKETS, bytes: BYTES, bytesHigh: BYTES_HIGH } = Word;
const TUPLE = REPLY_TUPLE;
const { tcp: TCP, udp: UDP } = IpProtocol;
const PROTOCOL_AND_STATE = Meta.protocolMask | STATE_MASK;
const PLAIN_TCP = SETTLED_TCP | TCP;
const PLAIN_UDP = SETTLED_UDP | UDP;
const UDP_STREAM = State.udpStream;

export function makeSettledFlows(
  clock: ConntrackClock,
  table: FlowTable,
  records: Int32Array,
  timeouts: Int32Array,
): SettledFlows {
  const { words, find } = table;

  return {
    find: (protocol, src, dst, ports) => {
      const reference = find(protocol, src, dst, ports);
      const at = ((reference & REFERENCE) >>> 1) * ENTRY_WORDS;
      const state = words[at + META] & STATE_MASK;
      if (state !== SETTLED_TCP && state !== SETTLED_UDP) return 0;
      return words[at + DEADLINE] > clock.now ? reference : 0;
    },

    isAt: (reference, protocol, src, dst, ports) => {
      const at = ((reference & REFERENCE) >>> 1) * ENTRY_WORDS;
      const tuple = at + (reference & 1) * TUPLE;
      const differs =
        (words[tuple] ^ src) |
        (words[tuple + DST] ^ dst) |
        (words[tuple + PORTS] ^ ports) |
        ((words[at + META] & PROTOCOL_AND_STATE) ^ (protocol === TCP ? PLAIN_TCP : PLAIN_UDP));
      return differs === 0 && words[at + DEADLINE] > clock.now;
    },

    touchUdp: (reference, lengthBytes) => {
      const at = ((reference & REFERENCE) >>> 1) * ENTRY_WORDS;
      words[at + DEADLINE] = clock.now + timeouts[UDP_STREAM];
      const direction = reference & 1;
      words[at + PACKETS + direction]++;
      const before = words[at + BYTES + direction];
      const after = (before + lengthBytes) | 0;
      words[at + BYTES + direction] = after;
      // Unsigned, it became less.
      if ((before & ~after) < 0) words[at + BYTES_HIGH] += direction === 0 ? 1 : 0x10000;
    },

    touchAck: makeTouchAck(clock, words, records, timeouts),
  };
}
