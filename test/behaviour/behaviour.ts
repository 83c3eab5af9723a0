import type { Kind } from '../helpers/servers.js';
import { bodies } from './bodies.js';
import { downloads } from './downloads.js';
import { hooks } from './hooks.js';
import { mounts } from './mounts.js';
import { refusals } from './refusals.js';
import { uploads } from './uploads.js';

/** What every server does, whatever its kind. */
export function behaviour(kind: Kind): void {
  downloads(kind);
  bodies(kind);
  uploads(kind);
  refusals(kind);
  mounts(kind);
  hooks(kind);
}
