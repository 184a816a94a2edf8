/**
 * What happens to connections, told as it happens: nf_conntrack's events. While nobody follows, telling is one boolean
 * test, and packets that change nothing but counters and deadlines do not even come here.
 */
import type { ConntrackRecord } from "./records.js";

export const CONNTRACK_EVENTS = ["NEW", "UPDATE", "DESTROY"] as const;
/** UPDATE: its state changed, its first answer came, or it became assured. */
export type ConntrackEventType = (typeof CONNTRACK_EVENTS)[number];

export interface ConntrackEvent {
  readonly type: ConntrackEventType;
  /** As it is afterwards; of a connection that is gone, as it last was. */
  readonly record: ConntrackRecord;
}

export class ConntrackEvents {
  /** Whether anybody follows. */
  isHeard = false;
  private readonly followers = new Set<(event: ConntrackEvent) => void>();

  /** Follows from now on; call the result to stop. A follower must not change connections. */
  follow(follower: (event: ConntrackEvent) => void): () => void {
    this.followers.add(follower);
    this.isHeard = true;
    return () => {
      this.followers.delete(follower);
      this.isHeard = this.followers.size > 0;
    };
  }

  tell(type: ConntrackEventType, record: ConntrackRecord): void {
    const event = { type, record };
    for (const follower of this.followers) follower(event);
  }
}
