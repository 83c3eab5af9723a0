import { createHash } from 'node:crypto';
import { KIB, MIB, pattern } from '../../helpers/files.js';

/** Artifact number `n` of the soak test, as a build tool would store it. */
export interface SoakArtifact {
  readonly n: number;
  readonly size: number;
  readonly path: string;
  readonly uploadMethod: 'PUT' | 'POST';
}

/** Path of an artifact with 64 hexadecimal digits, for each protocol. */
const PATHS: readonly ((digits: string, n: number) => string)[] = [
  (digits) => `/v8/artifacts/${digits}?slug=team`,
  (digits) => `/v1/cache/${digits}`,
  (digits) => `/gradle/${digits.slice(0, 32)}`,
  (_digits, n) => `/bazel/cas/${sha256(bodyOf(n))}`,
  (digits) => `/bazel/ac/${digits}`,
  (digits) => `/metro/${digits}`,
  (digits) => `/ccache/${digits.slice(0, 2)}/${digits.slice(2, 33)}`,
  (digits) => `/sccache/${digits[0]}/${digits[1]}/${digits[2]}/${digits}`,
  (digits) => `/api/cache/cas/${digits}?account_handle=us&project_handle=app`,
  (_digits, n) => `/plain/artifact%20${n}`,
];

export function artifact(n: number): SoakArtifact {
  const path = PATHS[n % PATHS.length]?.(sha256(Buffer.from(`artifact ${n}`)), n) ?? '';
  return { n, size: sizeOf(n), path, uploadMethod: path.startsWith('/api/cache/cas') ? 'POST' : 'PUT' };
}

/** Most artifacts are small, and most bytes are in large ones, as in a build cache. */
function sizeOf(n: number): number {
  const spread = (n * 7919) % 1000;
  if (n % 17 === 3) return 2 * MIB + spread * 6 * KIB;
  if (n % 3 === 0) return 64 * KIB + spread * 400;
  return spread === 0 ? 0 : 100 + spread * 60;
}

export function bodyOf(n: number): Buffer {
  return pattern(sizeOf(n), n % 2 ** 24);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
