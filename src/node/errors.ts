/** What ends a node for good, or until it starts anew. */

/** The node cannot run as it is configured; starting it again would not help. */
export class NodeSetupError extends Error {
  override readonly name = "NodeSetupError";
}

/** Another node holds this one's subnet now: a new start takes a new one. */
export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError";
}
