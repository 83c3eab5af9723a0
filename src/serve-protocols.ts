import { bazel } from './protocols/bazel.js';
import { ccache } from './protocols/ccache.js';
import { gradle } from './protocols/gradle.js';
import { metro } from './protocols/metro.js';
import { nx } from './protocols/nx.js';
import { plain } from './protocols/plain.js';
import type { Protocol } from './protocols/protocol.js';
import { turborepo } from './protocols/turborepo.js';

/** In the order in which they are asked: the one that takes every path is the last. */
const PROTOCOLS = { turborepo, nx, metro, gradle, bazel, ccache, plain } as const;

export type ProtocolName = keyof typeof PROTOCOLS;

/** Those that the command line knows; none of them takes what is another's. */
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as readonly ProtocolName[]; // its keys, as just written

export function isProtocolName(name: string): name is ProtocolName {
  return Object.hasOwn(PROTOCOLS, name);
}

/** The protocols of these names. */
export function protocolsOf(names: readonly ProtocolName[]): Protocol[] {
  return PROTOCOL_NAMES.filter((name) => names.includes(name)).map((name) => PROTOCOLS[name]());
}
