import { describe, expect, it } from "vitest";
import { checkHostRoutes, loadTopology } from "../../src/topology/index.js";
import { lab, problemsOf } from "./files.js";

const plan = () =>
  loadTopology(
    lab("name: a\nnodes: 1\nnetwork:\n  nodes: 10.0.0.0/24\n  pods:\n    network: 172.16.0.0/16\n"),
  );

describe("host routes", () => {
  it("that do not overlap are no problem, and default routes and those of IPv6 neither", () => {
    const prefixes = [
      "default",
      "0.0.0.0/0",
      "0.0.0.0/1",
      "128.0.0.0/1",
      "10.0.1.0/24",
      "10.1.0.5",
      "172.17.0.0/16",
      "fe80::/64",
    ];
    expect(() =>
      checkHostRoutes(
        plan(),
        prefixes.map((prefix) => ({ prefix, dev: "eth0" })),
      ),
    ).not.toThrow();
  });

  it("that overlap are named with the network and its place", () => {
    const routes = [
      { prefix: "default", dev: "eth0" },
      { prefix: "10.0.0.0/8", dev: "eth0" },
      { prefix: "172.16.9.1", dev: "tun0" },
    ];
    const place = plan();
    expect(problemsOf(() => checkHostRoutes(place, routes))).toEqual([
      "lab.yaml:3:1: network.services: 10.96.0.0/16 overlaps this host's route 10.0.0.0/8 dev eth0; choose another network, or use --netns",
      "lab.yaml:4:10: network.nodes: 10.0.0.0/24 overlaps this host's route 10.0.0.0/8 dev eth0; choose another network, or use --netns",
      "lab.yaml:6:14: network.pods.network: 172.16.0.0/16 overlaps this host's route 172.16.9.1 dev tun0; choose another network, or use --netns",
    ]);
  });

  it("over IPv6 are held against the IPv6 networks", () => {
    const network =
      "nodesIPv6: fd00:10::/64\n  pods: { networkIPv6: fd00:10:244::/56 }\n  servicesIPv6: fd00:10:96::/112";
    const place = loadTopology(lab(`name: a\nnodes: 1\nnetwork:\n  ${network}\n`));
    const routes = ["default", "::/0", "8000::/1", "fe80::/64", "fd00:11::/64", "fd00:10:244:100::5"];
    const onEth0 = (prefixes: readonly string[]) => prefixes.map((prefix) => ({ prefix, dev: "eth0" }));
    expect(() => checkHostRoutes(place, onEth0(routes))).not.toThrow();
    const taken = onEth0(["fd00:10:244:7::1", "fd00:10::/48", "fd00:10:96::/120"]);
    expect(problemsOf(() => checkHostRoutes(place, taken))).toEqual([
      "lab.yaml:4:14: network.nodesIPv6: fd00:10::/64 overlaps this host's route fd00:10::/48 dev eth0; choose another network, or use --netns",
      "lab.yaml:5:24: network.pods.networkIPv6: fd00:10:244::/56 overlaps this host's route fd00:10:244:7::1 dev eth0; choose another network, or use --netns",
      "lab.yaml:6:17: network.servicesIPv6: fd00:10:96::/112 overlaps this host's route fd00:10:96::/120 dev eth0; choose another network, or use --netns",
    ]);
  });
});
