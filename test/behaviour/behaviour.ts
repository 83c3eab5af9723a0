import type { Kind } from '../helpers/servers.js';
import { bodies } from './bodies.js';
import { downloads } from './downloads.js';
import { hooks } from './hooks.js';
import { mounts } from './mounts.js';
import { refusals } from './refusals.js';
import type { Scope } from './site.js';
import { uploads } from './uploads.js';

/** Declares the whole suite for a kind of server. */
export function behaviour(kind: Kind): void {
  declare(kind, 'product');
}

/**
 * Declares the tests that the framework, or the listener of the server, can make fail. The other kinds of server that run in
 * `npm test` cover the rest; `npm run test:system` runs the whole suite on every kind.
 */
export function hostBehaviour(kind: Kind): void {
  declare(kind, 'host');
}

function declare(kind: Kind, scope: Scope): void {
  downloads(kind, scope);
  bodies(kind, scope);
  uploads(kind, scope);
  refusals(kind, scope);
  mounts(kind);
  hooks(kind);
}
