/** Puts fragments together again, of both families. */
import { withoutOptions } from "./ipv6.js";
import { checkBody, isFragment, type Packet } from "./packet.js";

export class Reassembly {
  readonly #pieces = new Map<string, Packet[]>();

  /** The whole packet, as soon as its last piece is there. @throws Error when its transport is not right */
  take(packet: Packet): Packet | undefined {
    if (!isFragment(packet)) return packet;
    const key = `${packet.src} ${packet.id} ${packet.protocol}`;
    const pieces = [...(this.#pieces.get(key) ?? []), packet].sort(
      (a, b) => a.fragmentOffset - b.fragmentOffset,
    );
    this.#pieces.set(key, pieces);
    let end = 0;
    for (const piece of pieces) if (piece.fragmentOffset === end) end += piece.body.length;
    const last = pieces[pieces.length - 1];
    if (last.mf || end !== last.fragmentOffset + last.body.length) return undefined;
    this.#pieces.delete(key);
    const body = Uint8Array.from(pieces.flatMap((piece) => [...piece.body]));
    const whole = withoutOptions({ ...pieces[0], mf: false, body });
    checkBody(whole);
    return whole;
  }
}
