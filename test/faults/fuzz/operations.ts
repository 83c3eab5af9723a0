import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { content } from '../../stores/fixture.js';
import { type Conditions, conditions } from './conditions.js';

/** Keys that could be confused with each other, and one that is the prefix of another. */
export const KEYS = ['a', 'A', 'a/b', 'é %2F?', '%61'] as const;
export type Key = (typeof KEYS)[number];

export const MAX_UPLOAD_BYTES = 300_000;
const UPLOADS = ['with its length', 'in chunks', 'with its digest', 'with another digest', 'aborted'] as const;
const TYPES = ['application/octet-stream', 'application/x-cache', 'text/plain; charset=utf-8'] as const;

export type Range =
  | { readonly first: number; readonly last: number }
  | { readonly first: number }
  | { readonly suffix: number };

export interface ReadOperation {
  readonly do: 'GET' | 'HEAD';
  readonly key: Key;
  readonly range?: Range | undefined;
  readonly conditions: Conditions;
}

export interface PutOperation {
  readonly do: 'PUT';
  readonly key: Key;
  readonly size: number;
  readonly seed: number;
  readonly upload: (typeof UPLOADS)[number];
  readonly contentType: (typeof TYPES)[number];
  readonly conditions: Conditions;
}

export interface DeleteOperation {
  readonly do: 'DELETE';
  readonly key: Key;
  readonly conditions: Conditions;
}

export type Operation = ReadOperation | PutOperation | DeleteOperation;

// Limits between small and large artifacts, window sizes, and the upload limit.
const EDGES = [0, 1, 255, 256, 257, 4096, 65_535, 65_536, 65_537, 262_144, 262_145, MAX_UPLOAD_BYTES];
const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 2000 }) },
  { weight: 2, arbitrary: fc.constantFrom(...EDGES) },
  { weight: 1, arbitrary: fc.integer({ min: 60_000, max: MAX_UPLOAD_BYTES + 10 }) },
);
const position = fc.oneof({ weight: 3, arbitrary: fc.nat(2000) }, { weight: 1, arbitrary: fc.constantFrom(...EDGES) });
const range: fc.Arbitrary<Range> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ first: position, last: position }) },
  { weight: 1, arbitrary: fc.record({ first: position }) },
  { weight: 1, arbitrary: fc.record({ suffix: position }) },
);
// Mostly the same key, so that operations conflict.
const key = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(KEYS[0]) },
  { weight: 2, arbitrary: fc.constantFrom(...KEYS) },
);

function readWith(conditions: fc.Arbitrary<Conditions>): fc.Arbitrary<ReadOperation> {
  return fc.record({
    do: fc.constantFrom('GET', 'GET', 'GET', 'HEAD'),
    key,
    range: fc.option(range, { nil: undefined, freq: 2 }),
    conditions,
  });
}

function putWith(
  conditions: fc.Arbitrary<Conditions>,
  uploads: readonly PutOperation['upload'][],
): fc.Arbitrary<PutOperation> {
  return fc
    .record({
      do: fc.constant('PUT'),
      key,
      size,
      seed: fc.nat(255),
      upload: fc.constantFrom(...uploads),
      contentType: fc.constantFrom(...TYPES),
      conditions,
    })
    .map((put) => (put.upload === 'aborted' ? { ...put, size: Math.min(put.size, MAX_UPLOAD_BYTES - 1) } : put));
}

function deleteWith(conditions: fc.Arbitrary<Conditions>): fc.Arbitrary<DeleteOperation> {
  return fc.record({ do: fc.constant('DELETE'), key, conditions });
}

export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 5, arbitrary: readWith(conditions) },
  { weight: 4, arbitrary: putWith(conditions, UPLOADS) },
  { weight: 1, arbitrary: deleteWith(conditions) },
);

// Conditions without an entity tag, because the current one is not known before.
const ANY: fc.Arbitrary<Conditions> = fc.constantFrom({}, {}, {}, { ifMatch: 'any' }, { ifNoneMatch: 'any' });
const NONE: fc.Arbitrary<Conditions> = fc.constant({});

/** Concurrent operations. */
export const batch: fc.Arbitrary<Operation[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: putWith(ANY, ['with its length', 'in chunks', 'aborted']) },
    { weight: 2, arbitrary: readWith(NONE) },
    { weight: 1, arbitrary: deleteWith(ANY) },
  ),
  { minLength: 2, maxLength: 4 },
);

export function bytesOf({ size, seed }: PutOperation): Buffer {
  return content(size, seed);
}

/** Returns the selected bytes (end exclusive) of `length` bytes, or `undefined` if the Range must be ignored. */
export function selectedBy(range: Range, length: number): readonly [number, number] | 'unsatisfiable' | undefined {
  // No range of an empty artifact can be satisfied. It is sent as a whole.
  if (length === 0) return undefined;
  if ('suffix' in range) return range.suffix === 0 ? 'unsatisfiable' : [Math.max(0, length - range.suffix), length];
  const last = 'last' in range ? range.last : Number.POSITIVE_INFINITY;
  if (last < range.first) return undefined;
  return range.first >= length ? 'unsatisfiable' : [range.first, Math.min(last + 1, length)];
}

export function rangeHeader(range: Range): string {
  if ('suffix' in range) return `bytes=-${range.suffix}`;
  return `bytes=${range.first}-${'last' in range ? range.last : ''}`;
}

export function digestHeader(bytes: Uint8Array): string {
  return `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
}
