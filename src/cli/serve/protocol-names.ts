import { join } from 'node:path';
import { bazel } from '../../protocols/bazel.js';
import { ccache } from '../../protocols/ccache.js';
import { gradle } from '../../protocols/gradle.js';
import { metro } from '../../protocols/metro.js';
import { nx } from '../../protocols/nx.js';
import { plain } from '../../protocols/plain.js';
import type { Protocol } from '../../protocols/protocol.js';
import { sccache } from '../../protocols/sccache.js';
import { tuist } from '../../protocols/tuist/tuist.js';
import { turborepo } from '../../protocols/turborepo.js';

/** In the order in which they are asked: the one that takes every path is the last. */
const PROTOCOLS = {
  // Of what it shares with Nx and Metro it takes only what names a tenant.
  tuist: (dir: string) => tuist({ uploadsDir: join(dir, '.hotblob', 'parts') }),
  turborepo: () => turborepo(),
  nx: () => nx(),
  metro: () => metro(),
  gradle: () => gradle(),
  bazel: () => bazel(),
  ccache: () => ccache(),
  sccache: () => sccache(),
  plain: () => plain(),
} as const satisfies Record<string, (dir: string) => Protocol>;

export type ProtocolName = keyof typeof PROTOCOLS;

/** Those that the command line knows; none of them takes what is another's. */
export const PROTOCOL_NAMES = Object.keys(PROTOCOLS) as readonly ProtocolName[]; // its keys, as just written

export function isProtocolName(name: string): name is ProtocolName {
  return Object.hasOwn(PROTOCOLS, name);
}

/** The protocols of these names, for a store in `dir`. */
export function protocolsOf(names: readonly ProtocolName[], dir: string): Protocol[] {
  return PROTOCOL_NAMES.filter((name) => names.includes(name)).map((name) => PROTOCOLS[name](dir));
}
