/** The ICMPv6 errors of verdicts, from their ICMP errors (as RFC 7915 §5.2 translates them). */
import {
  IcmpType,
  Icmpv6Type,
  ParameterProblem6Code,
  Unreachable6Code,
  UnreachableCode,
} from "../../wire/index.js";
import { VERDICTS, type VerdictInfo } from "../verdicts.js";

const CODES: Readonly<Record<number, readonly [type: number, code: number]>> = {
  [UnreachableCode.network]: [Icmpv6Type.destinationUnreachable, Unreachable6Code.noRoute],
  [UnreachableCode.host]: [Icmpv6Type.destinationUnreachable, Unreachable6Code.address],
  [UnreachableCode.protocol]: [Icmpv6Type.parameterProblem, ParameterProblem6Code.nextHeader],
  [UnreachableCode.port]: [Icmpv6Type.destinationUnreachable, Unreachable6Code.port],
  [UnreachableCode.fragmentationNeeded]: [Icmpv6Type.packetTooBig, 0],
};
const PROHIBITED = [Icmpv6Type.destinationUnreachable, Unreachable6Code.prohibited] as const;

function icmpv6Of({ icmpType, icmpCode }: VerdictInfo): readonly [type: number, code: number] {
  if (icmpType === IcmpType.timeExceeded) return [Icmpv6Type.timeExceeded, icmpCode];
  return CODES[icmpCode] ?? PROHIBITED;
}

/** By verdict; meaningless for one without an ICMP error. */
export const ICMPV6_TYPES = Uint8Array.from(VERDICTS, (info) => icmpv6Of(info)[0]);
export const ICMPV6_CODES = Uint8Array.from(VERDICTS, (info) => icmpv6Of(info)[1]);
