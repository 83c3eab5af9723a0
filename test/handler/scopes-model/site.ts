import type { AccessDecision, AccessRequest } from '../../../src/access/policy.js';
import type { Store } from '../../../src/contract/store.js';
import { createHandler, type Handler } from '../../../src/handler/handler.js';
import { fixedMemoryPressure } from '../../../src/memory/pressure.js';
import {
  bazel,
  ccache,
  gradle,
  metro,
  nx,
  plain,
  rush,
  sccache,
  tuist,
  turborepo,
} from '../../../src/protocols/index.js';
import type { Client } from './model.js';

/** Returns the token of a client. It contains the grant, so that every process knows it. */
export function tokenOf(client: Client): string {
  return Buffer.from(JSON.stringify(client)).toString('base64url');
}

/** Returns the grant in the token, every other time as a promise. The grant is changed after it has been returned. */
function access({ credentials, method }: AccessRequest): AccessDecision | Promise<AccessDecision> {
  if (credentials === undefined) return 'none';
  // The tests write all tokens.
  const grant = JSON.parse(Buffer.from(credentials.token, 'base64url').toString()) as AccessDecision;
  if (typeof grant !== 'object') return grant;
  setImmediate(() => {
    Object.assign(grant, { level: 'write', scope: 'main' });
    if (Array.isArray(grant.reads)) grant.reads.splice(0, 4, 'main');
  });
  return method === 'HEAD' ? Promise.resolve(grant) : grant;
}

/** Creates a handler with all protocols. The token of a client is its grant. */
export function createScopedHandler(store: Store, uploadsDir: string, overwrite: boolean): Handler {
  const protocols = [
    tuist({ uploadsDir }),
    nx(),
    turborepo(),
    bazel(),
    gradle(),
    metro(),
    ccache(),
    sccache(),
    rush(),
    plain(),
  ];
  return createHandler({ store, protocols, access, overwrite, memory: fixedMemoryPressure('normal') });
}
