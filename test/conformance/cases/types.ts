/** One case of Kubernetes' end-to-end tests. A bare string where there is nothing to say but its name. */
export type Case = string | CaseDetails;

export interface CaseDetails {
  /** What upstream calls it, without the group's prefix, tags included. `[Conformance]` marks those of v1.35. */
  readonly name: string;
  /** Other full names of the same case: of other releases, or as its group was called. */
  readonly formerly?: readonly string[];
  /** Why Podwire cannot have such a case at all, in one line. */
  readonly notApplicable?: string;
  /** The name could not be looked up word by word. */
  readonly shortened?: true;
}

/** Cases that upstream keeps together (one `SIGDescribe`). */
export interface CaseGroup {
  readonly title: string;
  /** What every name of the group begins with. */
  readonly prefix: string;
  readonly cases: readonly Case[];
}
