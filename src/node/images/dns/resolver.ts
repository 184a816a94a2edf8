/**
 * From a message to its reply: the zone and the reverse names of the cluster are answered from the catalog, everything
 * else by upstream servers. Never throws, whatever comes in; no reply at all to what is no query.
 */
import { type Answer, decode, encode, RECURSION_DESIRED } from "dns-packet";
import type { ClusterView } from "./catalog.js";
import type { Forwarder } from "./forward.js";
import {
  encodeRefusal,
  encodeReply,
  parseQuery,
  type Query,
  Rcode,
  type Reply,
  replyLimit,
  type Transport,
} from "./message.js";
import { labelsOf, reverseAddress, reverseZone, under } from "./names.js";
import { pointersAt, recordsAt, soa } from "./records.js";

export interface ResolverOptions {
  readonly view: ClusterView;
  /** Such as `cluster.local`: lower case, no dot at the end. */
  readonly zone: string;
  readonly upstream: Forwarder;
  /** Whether the view is complete; until then the cluster's names are SERVFAIL, so that nobody remembers a wrong no. */
  readonly synced: () => boolean;
  /** Numbers in [0, 1): the order of addresses, so that clients that take the first spread. */
  readonly random: () => number;
}

/** The reply to a message; undefined when it gets none. */
export type Resolve = (message: Buffer, transport: Transport) => Promise<Buffer | undefined>;

/** ExternalName Services that point at each other end after so many. */
const MAX_ALIASES = 8;
const SERVER_FAILURE: Reply = { rcode: Rcode.serverFailure };
/** Zone transfers are refused (RFC 5936 section 2.2.1). */
const TRANSFERS: readonly string[] = ["AXFR", "IXFR"];

export function createResolver(options: ResolverOptions): Resolve {
  const resolver = new Resolver(options);
  return async (message, transport) => {
    const query = parseQuery(message);
    if (query === undefined) return undefined;
    if (typeof query === "number") return encodeRefusal(message, query);
    const limits = { limitBytes: replyLimit(query, transport), recursion: options.upstream.available };
    try {
      const reply = await resolver.answer(query, transport);
      return Buffer.isBuffer(reply) ? reply : encodeReply(query, reply, limits);
    } catch {
      // An upstream that is away, or an object of which no record can be made.
      return encodeReply(query, SERVER_FAILURE, limits);
    }
  };
}

class Resolver {
  readonly #options: ResolverOptions;
  readonly #zoneLabels: readonly string[];

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#zoneLabels = labelsOf(options.zone);
  }

  /** A reply to encode, or one from upstream as it came. */
  async answer(query: Query, transport: Transport): Promise<Reply | Buffer> {
    if (query.edns && query.edns.version > 0) return { rcode: Rcode.badVersion };
    if (query.class !== "IN" || TRANSFERS.includes(query.type)) return { rcode: Rcode.refused };
    const inZone = under(query.labels, this.#zoneLabels);
    if (inZone) return this.#options.synced() ? this.#fromZone(query, inZone, transport) : SERVER_FAILURE;
    const address = reverseAddress(query.labels);
    if (address === undefined) return this.#forward(query, transport);
    return this.#options.synced() ? this.#reverse(query, address, transport) : SERVER_FAILURE;
  }

  async #forward(query: Query, transport: Transport): Promise<Reply | Buffer> {
    const { upstream } = this.#options;
    return upstream.available ? upstream.forward(query.bytes, transport) : { rcode: Rcode.refused };
  }

  /** Addresses that are not the cluster's may have names elsewhere. */
  async #reverse(query: Query, address: string, transport: Transport): Promise<Reply | Buffer> {
    const { view, zone, upstream } = this.#options;
    const pointers = pointersAt(view, zone, address);
    if (pointers.length === 0 && upstream.available) return upstream.forward(query.bytes, transport);
    const rcode = pointers.length > 0 ? Rcode.noError : Rcode.nameError;
    const answers = ofType(pointers, query.type);
    const authorities = answers.length > 0 ? [] : [soa(view, zone, reverseZone(address))];
    return { rcode, authoritative: true, answers, authorities };
  }

  async #fromZone(query: Query, asked: readonly string[], transport: Transport): Promise<Reply> {
    const { view, zone } = this.#options;
    const aliases: Answer[] = [];
    for (let labels = asked; aliases.length <= MAX_ALIASES; ) {
      const records = recordsAt(view, zone, labels);
      if (!records) return this.#no(Rcode.nameError, aliases);
      const found = ofType(records, query.type);
      if (found.length > 0) return this.#yes(aliases, found);
      const alias = records.find(({ type }) => type === "CNAME");
      if (alias?.type !== "CNAME") return this.#no(Rcode.noError, aliases);
      aliases.push(alias);
      const next = under(labelsOf(alias.data), this.#zoneLabels);
      if (!next) return this.#outside(aliases, alias.data, query, transport);
      labels = next;
    }
    return SERVER_FAILURE;
  }

  #yes(aliases: readonly Answer[], found: readonly Answer[]): Reply {
    const { view, zone } = this.#options;
    const targets = new Set(found.flatMap((record) => (record.type === "SRV" ? [record.data.target] : [])));
    const additionals = [...targets].flatMap((target) => {
      const labels = under(labelsOf(target), this.#zoneLabels);
      return (labels && recordsAt(view, zone, labels)) ?? [];
    });
    return {
      rcode: Rcode.noError,
      authoritative: true,
      answers: [...aliases, ...this.#shuffled(found)],
      additionals: additionals.filter(({ type }) => type === "A" || type === "AAAA"),
    };
  }

  /** No such name, or no such record of it; the SOA says for how long that holds (RFC 2308 section 3). */
  #no(rcode: Rcode, aliases: readonly Answer[]): Reply {
    const { view, zone } = this.#options;
    return { rcode, authoritative: true, answers: aliases, authorities: [soa(view, zone, zone)] };
  }

  /**
   * An alias for a name outside: its own records come from upstream, and so does the response code (RFC 6604 section 3).
   * Without upstream servers the alias alone is all there is to say.
   */
  async #outside(
    aliases: readonly Answer[],
    target: string,
    query: Query,
    transport: Transport,
  ): Promise<Reply> {
    const { upstream } = this.#options;
    const alone = { rcode: Rcode.noError, authoritative: true, answers: aliases };
    if (!upstream.available) return alone;
    try {
      const reply = await upstream.forward(aboutName(target, query), transport);
      const { answers = [], authorities = [], flag_tc } = decode(reply);
      // What was cut off over UDP the asker gets over TCP.
      if (flag_tc) return { ...alone, truncated: true };
      return { ...alone, rcode: reply[3]! & 0xf, answers: [...aliases, ...answers], authorities };
    } catch {
      return { ...alone, rcode: Rcode.serverFailure };
    }
  }

  #shuffled(records: readonly Answer[]): Answer[] {
    const shuffled = [...records];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = Math.floor(this.#options.random() * (last + 1));
      [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
    }
    return shuffled;
  }
}

function ofType(records: readonly Answer[], type: string): Answer[] {
  return records.filter((record) => type === "ANY" || record.type === type);
}

/** The query's own question about another name. */
function aboutName(name: string, query: Query): Buffer {
  const message = encode({ type: "query", flags: RECURSION_DESIRED, questions: [{ name, type: "A" }] });
  // dns-packet has no word for every type.
  query.bytes.copy(message, message.length - 4, query.questionEnd - 4, query.questionEnd);
  return message;
}
