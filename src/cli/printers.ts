/** Tables of `podwire get`, with kubectl's columns (kubernetes pkg/printers/internalversion/printers.go). */
import {
  type EndpointSlice,
  type Endpoints,
  type Event,
  formatSelector,
  type KubeObject,
  type Namespace,
  type Node,
  type Pod,
  type ReplicaSet,
  type ReplicationController,
  type ResourceName,
  type Service,
} from "../kube/index.js";
import { labelsRequirements } from "./selectorText.js";
import { age, table } from "./table.js";

/** Header, cell, and whether it shows with -o wide only. */
type Column<T> = readonly [header: string, cell: (object: T) => string, wide?: "wide"];

const NONE = "<none>";
const since = (time: string | undefined): string => (time ? age(Date.parse(time)) : "<unknown>");
const NAME: Column<KubeObject> = ["NAME", (object) => object.metadata?.name ?? ""];
const AGE: Column<KubeObject> = ["AGE", (object) => since(object.metadata?.creationTimestamp)];
