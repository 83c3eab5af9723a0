import assert from 'node:assert/strict';
import type { Response } from '../../helpers/client.js';
import { verdictOf } from '../rfc9110.js';
import { resolve, type Version } from './conditions.js';
import { bytesOf, type Key, MAX_UPLOAD_BYTES, type Operation, type PutOperation, selectedBy } from './operations.js';

/** Differences between stores. */
export interface Traits {
  /** `true` if keys are file paths, so that no key can be a prefix directory of another. */
  readonly isTree: boolean;
}

/** Artifact under each key. Unknown properties of a version are `undefined`. */
export type State = ReadonlyMap<Key, KnownVersion>;
export type KnownVersion = Pick<Version, 'bytes' | 'contentType'> & Partial<Version>;

/** Response, or `undefined` for a request that its client has aborted. */
export type Outcome = Response | undefined;

/** Returns `true` if the conditions of an operation are evaluated before its effect, at another moment. */
export function hasSeparateConditions(operation: Operation): boolean {
  return operation.do !== 'GET' && operation.do !== 'HEAD' && Object.keys(operation.conditions).length > 0;
}

/** Returns the status that the headers of an operation determine for `state`. */
export function statusOf(operation: Operation, state: State, earlier?: Version): number {
  // Checked before the lookup.
  if (operation.do === 'PUT' && operation.upload !== 'in chunks' && operation.size > MAX_UPLOAD_BYTES) return 413;
  const version = state.get(operation.key);
  const { headers: _headers, ...facts } = resolve(operation.conditions, withUnknowns(version), earlier);
  const length = version?.bytes.byteLength ?? 0;
  const selected = 'range' in operation && operation.range ? selectedBy(operation.range, length) : undefined;
  return verdictOf({
    method: operation.do,
    exists: version !== undefined,
    ...facts,
    range: selected === undefined ? undefined : selected === 'unsatisfiable' ? selected : 'satisfiable',
  });
}

function withUnknowns(version: KnownVersion | undefined): Version | undefined {
  if (version === undefined) return undefined;
  const { bytes, contentType, etag = '"not known"', lastModified = new Date(0).toUTCString() } = version;
  return { bytes, contentType, etag, lastModified };
}

/** Returns the status of an upload whose conditions are true, or `undefined` if it is aborted. */
export function uploadStatus(operation: PutOperation, state: State, { isTree }: Traits): number | undefined {
  const { key, upload, size } = operation;
  if (size > MAX_UPLOAD_BYTES) return 413;
  if (upload === 'aborted') return undefined;
  if (upload === 'with another digest') return 400;
  if (isTree && [...state.keys()].some((other) => isNested(other, key))) return 400;
  return 200;
}

function isNested(one: string, other: string): boolean {
  return one !== other && (one.startsWith(`${other}/`) || other.startsWith(`${one}/`));
}

export function stateAfter(operation: Operation, state: State, status: number | undefined): State {
  const next = new Map(state);
  if (operation.do === 'PUT' && status === 200) {
    next.set(operation.key, { bytes: bytesOf(operation), contentType: operation.contentType });
  }
  if (operation.do === 'DELETE' && status === 204) next.delete(operation.key);
  return next;
}

const MESSAGES: Readonly<Record<number, string>> = {
  400: 'The request is not valid.',
  404: 'Not found.',
  412: 'A precondition of the request failed.',
  413: 'The upload is too large.',
  416: 'The range cannot be satisfied.',
};

/** Asserts that a response has the headers and body of `status` for `state`. */
export function assertResponse(operation: Operation, state: State, response: Response, status: number): void {
  const { headers, body } = response;
  assert.equal(response.status, status);
  const version = state.get(operation.key);
  if (status >= 400) {
    const message = JSON.stringify({ message: MESSAGES[status] });
    assert.equal(body.toString(), operation.do === 'HEAD' ? '' : `${message}\n`);
    if (status === 416) assert.equal(headers['content-range'], `bytes */${version?.bytes.byteLength}`);
    return;
  }
  if (operation.do === 'PUT' || operation.do === 'DELETE') {
    assert.equal(body.byteLength, 0);
    return;
  }
  if (version === undefined) throw new Error(`status ${status} for a missing artifact`);
  if (version.etag !== undefined) assert.equal(headers.etag, version.etag);
  if (version.lastModified !== undefined) assert.equal(headers['last-modified'], version.lastModified);
  if (status === 304) {
    assert.equal(body.byteLength, 0);
    return;
  }
  assert.equal(headers['content-type'], version.contentType);
  const length = version.bytes.byteLength;
  const selected = status === 206 && operation.range ? selectedBy(operation.range, length) : undefined;
  const [start, end] = typeof selected === 'object' ? selected : [0, length];
  assert.equal(headers['content-range'], status === 206 ? `bytes ${start}-${end - 1}/${length}` : undefined);
  assert.equal(headers['content-length'], String(end - start));
  const expected = operation.do === 'HEAD' ? Buffer.alloc(0) : version.bytes.subarray(start, end);
  assert.ok(
    body.equals(expected),
    `expected other content of ${expected.byteLength} bytes, received ${body.byteLength} bytes`,
  );
}
