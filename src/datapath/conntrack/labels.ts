/** Which Service and endpoint a connection was sent to, for traces: pairs of strings behind small counted numbers. */

interface Label {
  readonly id: number;
  readonly service: string;
  readonly endpoint: string;
  uses: number;
}

/** Label of connections that belong to no Service, and of those beyond the last free number. */
export const NO_LABEL = 0;

/** Numbers pairs of strings from 1; a number is free again when its last connection is gone. */
export class Labels {
  private readonly byId: (Label | undefined)[] = [undefined];
  private readonly byName = new Map<string, Map<string, Label>>();
  private readonly free: number[] = [];

  constructor(private readonly limit: number) {}

  /** The number of the pair, with one more use. {@link NO_LABEL} when the service is empty or all numbers are taken. */
  take(service: string, endpoint: string): number {
    if (service === "") return NO_LABEL;
    const label = this.byName.get(service)?.get(endpoint) ?? this.add(service, endpoint);
    if (label === undefined) return NO_LABEL;
    label.uses++;
    return label.id;
  }

  release(id: number): void {
    const label = this.byId[id];
    if (label === undefined || --label.uses > 0) return;
    const ofService = this.byName.get(label.service);
    ofService?.delete(label.endpoint);
    if (ofService?.size === 0) this.byName.delete(label.service);
    this.byId[id] = undefined;
    this.free.push(id);
  }

  service(id: number): string | undefined {
    return this.byId[id]?.service;
  }

  endpoint(id: number): string | undefined {
    return this.byId[id]?.endpoint;
  }

  private add(service: string, endpoint: string): Label | undefined {
    const id = this.free.pop() ?? this.byId.length;
    if (id > this.limit) return undefined;
    const label = { id, service, endpoint, uses: 0 };
    this.byId[id] = label;
    const ofService = this.byName.get(service) ?? new Map<string, Label>();
    this.byName.set(service, ofService);
    ofService.set(endpoint, label);
    return label;
  }
}
