/** What the registry must know of each kind; one object of this type per resource. */
import type { Rule } from "../names.js";
import type { StructSchema } from "../schema.js";
import type { FieldError } from "../status.js";
import type { KubeObject } from "../types.js";

export interface KindRules<T extends KubeObject = KubeObject> {
  readonly schema: StructSchema;
  readonly nameRule: Rule;
  /** `metadata.generation` counts the changes of the spec. */
  readonly countsGenerations?: boolean;
  /** The status that a new object has; without it, what the client sent. */
  readonly initialStatus?: Readonly<Record<string, unknown>>;
  /** Fills in what the client left out, in place. */
  setDefaults?(object: T): void;
  /** Takes over from the stored object what an update leaves out, in place; after the defaults. */
  prepareUpdate?(object: T, stored: T): void;
  /** Fills in what only a new object lacks, in place; after the defaults. */
  prepareCreate?(object: T): void;
  validate(object: T): FieldError[];
  /** What only a new object must be. */
  validateCreate?(object: T): FieldError[];
  /** As `setDefaults` and `validate`, of what an update of the status writes. */
  setStatusDefaults?(object: T): void;
  validateStatus?(object: T): FieldError[];
  /** What an update may not change. */
  validateUpdate?(object: T, stored: T): FieldError[];
}
