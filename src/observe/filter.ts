/** Which observations a reader wants to see. */
import type { Observation, Tuple } from "../datapath/index.js";
import {
  type IpAddress,
  IpProtocol,
  ipv6PrefixContains,
  type Prefix,
  parseIpv4,
  parseIpv6,
  parseIpv6Prefix,
  parsePrefix,
  prefixContains,
} from "../wire/index.js";
import type { NameOf } from "./tupleText.js";

/** Criteria as the user wrote them. Several values of one are alternatives; all criteria given must hold. */
export interface TraceFilterSpec {
  /** `NAME` or `NAMESPACE/NAME`. */
  readonly pod?: readonly string[];
  /** `NAME`, `NAMESPACE/NAME` or `NAMESPACE/NAME:PORTNAME`. */
  readonly service?: readonly string[];
  /** An IPv4 address or a prefix. */
  readonly address?: readonly string[];
  /** A TCP or UDP port, of either end. */
  readonly port?: readonly string[];
  readonly node?: readonly string[];
  /** `forward`, `deliver`, `drop` or `reject`, and a reason if wanted: `drop:ttl-exceeded`. */
  readonly verdict?: readonly string[];
  /** `tcp`, `udp`, `icmp`, `sctp` or a number. */
  readonly protocol?: readonly string[];
}

/** A value that does not fit its criterion; the message names both and says what would fit. */
export class TraceFilterError extends Error {
  override readonly name = "TraceFilterError";
}

type Test = (observation: Observation, nameOf: NameOf) => boolean;
type Criterion = keyof TraceFilterSpec;

/** Connections remembered at most; then the oldest is forgotten. */
const MAX_CONNECTIONS = 4096;
const NAME = /^([a-z0-9][a-z0-9.-]*\/)?[a-z0-9][a-z0-9.-]*$/;
const SERVICE = /^([a-z0-9][a-z0-9.-]*\/)?[a-z0-9][a-z0-9.-]*(:[a-z0-9-]*)?$/;
const NODE = /^[a-z0-9][a-z0-9.-]*$/;
const VERDICT = /^(forward|deliver|drop|reject)(:[a-z0-9-]+)?$/;
const PROTOCOLS: Readonly<Record<string, number | undefined>> = IpProtocol;

/**
 * A parsed filter. Node and verdict judge each observation by itself. The other criteria choose connections: when one
 * observation fits, the filter remembers its addresses before and after the rewrite, so that the same connection is
 * also seen on nodes where the Service is no longer known or the client is masqueraded, and on its way back.
 */
export class TraceFilter {
  readonly #flowTests: readonly Test[];
  readonly #spotTests: readonly Test[];
  readonly #connections = new Set<string>();

  /** @throws {TraceFilterError} for the first value that is malformed. */
  constructor(spec: TraceFilterSpec) {
    const tests = (criteria: readonly Criterion[]) =>
      criteria
        .filter((criterion) => spec[criterion] !== undefined)
        .map((criterion) => anyOf(criterion, spec));
    this.#flowTests = tests(["pod", "service", "address", "port", "protocol"]);
    this.#spotTests = tests(["node", "verdict"]);
  }

  /** Whether to show an observation. `nameOf` gives the pod that has an address. */
  matches(observation: Observation, nameOf: NameOf = () => undefined): boolean {
    return this.#follows(observation, nameOf) && this.#spotTests.every((test) => test(observation, nameOf));
  }

  #follows(observation: Observation, nameOf: NameOf): boolean {
    if (this.#flowTests.length === 0) return true;
    const keys = [connectionKey(observation.before), connectionKey(observation.after)];
    if (this.#flowTests.every((test) => test(observation, nameOf))) {
      for (const key of keys) this.#remember(key);
      return true;
    }
    return keys.some((key) => this.#connections.has(key));
  }

  #remember(key: string): void {
    this.#connections.delete(key);
    this.#connections.add(key);
    if (this.#connections.size <= MAX_CONNECTIONS) return;
    for (const oldest of this.#connections) {
      this.#connections.delete(oldest);
      return;
    }
  }
}

/** The same for both directions of a connection. */
function connectionKey({ protocol, src, dst, sport, dport }: Tuple): string {
  const isIcmp = protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6;
  const ends = isIcmp ? [`${src}`, `${dst}`] : [`${src} ${sport}`, `${dst} ${dport}`];
  return `${protocol} ${ends.sort().join(" ")}${isIcmp ? ` ${sport}` : ""}`;
}

function anyOf(criterion: Criterion, spec: TraceFilterSpec): Test {
  const tests = (spec[criterion] ?? []).map(PARSERS[criterion]);
  return (observation, nameOf) => tests.some((test) => test(observation, nameOf));
}

const PARSERS: Readonly<Record<Criterion, (text: string) => Test>> = {
  pod: parsePod,
  service: parseService,
  address: parseAddress,
  port: parsePort,
  node: (text) => {
    demand(NODE.test(text), "node", text, "a node's name");
    return ({ node }) => node === text;
  },
  verdict: (text) => {
    demand(
      VERDICT.test(text),
      "verdict",
      text,
      "forward, deliver, drop or reject, or such as drop:ttl-exceeded",
    );
    return ({ verdict, reason }) => verdict === text || `${verdict}:${reason}` === text;
  },
  protocol: (text) => {
    const protocol = PROTOCOLS[text] ?? (/^\d{1,3}$/.test(text) ? Number(text) : 256);
    demand(protocol < 256, "protocol", text, "tcp, udp, icmp, icmpv6, sctp or a number up to 255");
    return ({ before }) => before.protocol === protocol;
  },
};

function parsePod(text: string): Test {
  demand(NAME.test(text), "pod", text, "NAME or NAMESPACE/NAME");
  const isIt = (name: string | undefined) => name === text || name?.split("/")[1] === text;
  return (observation, nameOf) =>
    isIt(observation.inPort) ||
    isIt(observation.outPort) ||
    isIt(observation.endpoint) ||
    addressesOf(observation).some((address) => isIt(nameOf(address)));
}

function parseService(text: string): Test {
  demand(SERVICE.test(text), "service", text, "NAME, NAMESPACE/NAME or NAMESPACE/NAME:PORT");
  return ({ service }) => {
    if (service === undefined) return false;
    const qualified = text.includes("/") ? service : service.slice(service.indexOf("/") + 1);
    return qualified === text || qualified.split(":")[0] === text;
  };
}

function parseAddress(text: string): Test {
  const isIt = parseIpv4Test(text) ?? parseIpv6Test(text);
  if (isIt === undefined) return fail("address", text, "an address or a prefix such as 172.16.0.0/16");
  return (observation) => addressesOf(observation).some(isIt);
}

function parseIpv4Test(text: string): ((address: IpAddress) => boolean) | undefined {
  const ip = parseIpv4(text);
  const prefix: Prefix | undefined = ip === undefined ? parsePrefix(text) : { address: ip, length: 32 };
  return prefix && ((address) => typeof address === "number" && prefixContains(prefix, address));
}

function parseIpv6Test(text: string): ((address: IpAddress) => boolean) | undefined {
  const ip = parseIpv6(text);
  const prefix = ip === undefined ? parseIpv6Prefix(text) : { address: ip, length: 128 };
  return (
    prefix &&
    ((address) => typeof address === "string" && ipv6PrefixContains(prefix, parseIpv6(address) ?? 0n))
  );
}

function parsePort(text: string): Test {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  demand(port > 0 && port < 0x10000, "port", text, "a number from 1 to 65535");
  return ({ before, after }) =>
    before.protocol !== IpProtocol.icmp &&
    before.protocol !== IpProtocol.icmpv6 &&
    [before.sport, before.dport, after.sport, after.dport].includes(port);
}

function addressesOf({ before, after }: Observation): readonly IpAddress[] {
  return [before.src, before.dst, after.src, after.dst];
}

function demand(fits: boolean, criterion: Criterion, text: string, expected: string): void {
  if (!fits) fail(criterion, text, expected);
}

function fail(criterion: Criterion, text: string, expected: string): never {
  throw new TraceFilterError(`"${text}" is not a valid ${criterion} to filter by: give ${expected}.`);
}
