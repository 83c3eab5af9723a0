import { createHash } from 'node:crypto';

/** Request that stores an artifact. */
export interface UploadRequest {
  readonly method: string;
  readonly path: string;
  readonly body: Buffer;
}

/** Kind of artifact that a build tool stores, and how it does this. */
export interface Route {
  readonly name: string;
  /** Path from which an artifact is read. `id` is unique to the artifact. */
  path(id: string): string;
  /** Returns the bytes that a download sends after an upload with `marker`. Default: the marker. */
  body?(id: string, marker: string): Buffer;
  /** Returns the request that stores `body`. Undefined if the artifact is not stored by one request. */
  upload?(id: string, body: Buffer): UploadRequest;
  /** Status of an upload. `kept`: the key has an artifact, which the client may not replace. */
  readonly statuses: { readonly created: number; readonly replaced: number; readonly kept: number };
  readonly isDeletable: boolean;
  /** Whether the key determines the content. */
  readonly isContentAddressed: boolean;
  /** Whether preconditions apply to uploads. */
  readonly hasPreconditions: boolean;
  /** Status of a HEAD request that finds an artifact. */
  readonly headStatus: number;
  /** Length of the key in the store, if it is close to the limit. */
  readonly keyBytes?: number;
}

/** Returns the query that names the Tuist project of a run. Ids begin with the run. */
export function projectOf(id: string): string {
  return `tenant_id=acme&namespace_id=${id.split('s')[0]}`;
}

/** Prefix of the keys of the model that a request to delete all artifacts of the project removes. */
export const PROJECT_ROUTES = 'tuist';
const LONG_KEY_BYTES = 1012;

export function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Returns the content of a blob whose key is its digest. It is the same in all scopes. */
function blobOf(id: string): Buffer {
  return Buffer.from(`content of the blob ${id}`);
}

export function digestOf(id: string): string {
  return sha256(blobOf(id));
}

const route = (name: string, status: number, path: Route['path'], rest: Partial<Route> & { method?: string } = {}) => {
  const { method = 'PUT', ...traits } = rest;
  return {
    name,
    path,
    upload: (id: string, body: Buffer) => ({ method, path: path(id), body }),
    statuses: { created: status, replaced: status, kept: status },
    isDeletable: false,
    isContentAddressed: false,
    hasPreconditions: true,
    headStatus: 200,
    ...traits,
  } satisfies Route;
};

/** Returns a key of {@link LONG_KEY_BYTES} bytes, in a few segments. */
function longKeyOf(id: string): string {
  return `${`${id}${'k'.repeat(200)}/`.repeat(6).slice(0, LONG_KEY_BYTES - 1)}x`;
}

const keyValueOf = (marker: string): Buffer => Buffer.from(JSON.stringify({ entries: [{ value: marker }] }));

export const MODULE: Route = {
  ...route('tuist-module', 204, (id) => `/api/cache/module/any?${projectOf(id)}&hash=${sha256(id)}&name=Module.zip`),
  headStatus: 204,
};

/** Routes whose artifacts are stored by one request. */
export const ROUTES: readonly (Route & Required<Pick<Route, 'upload'>>)[] = [
  route('nx', 200, (id) => `/v1/cache/${id}`, { statuses: { created: 200, replaced: 200, kept: 409 } }),
  route('turborepo', 202, (id) => `/v8/artifacts/${id}?slug=team`),
  route('bazel-cas', 200, (id) => `/bazel/cas/${digestOf(id)}`, { body: blobOf, isContentAddressed: true }),
  route('bazel-blake3', 200, (id) => `/bazel/blake3/cas/${sha256(id)}`, { isContentAddressed: true }),
  route('bazel-ac', 200, (id) => `/bazel/ac/${sha256(id)}`),
  route('gradle', 200, (id) => `/gradle/team/${sha256(id).slice(0, 32)}`),
  route('metro', 200, (id) => `/metro/${sha256(id)}`),
  route('ccache', 200, (id) => `/ccache/${sha256(id).slice(0, 40)}`, { isDeletable: true }),
  route('sccache', 200, (id) => `/sccache/.scopes/main/${id}`, { isDeletable: true }),
  route('rush', 200, (id) => `/rush/.scopes/pr/7/rush/${id}`, { method: 'PATCH' }),
  route('plain', 200, (id) => `/a/${id}`, { isDeletable: true }),
  route('plain-long', 200, (id) => `/${longKeyOf(id)}`, {
    isDeletable: true,
    keyBytes: LONG_KEY_BYTES,
  }),
  route('tuist-cas', 204, (id) => `/api/cache/cas/${id}?${projectOf(id)}`, { method: 'POST' }),
  route('tuist-gradle', 201, (id) => `/api/cache/gradle/${id}?${projectOf(id)}`, {
    statuses: { created: 201, replaced: 200, kept: 200 },
  }),
  route('tuist-nx', 200, (id) => `/v1/cache/${id}?${projectOf(id)}`),
  route('tuist-keyvalue', 204, (id) => `/api/cache/keyvalue/${id}?${projectOf(id)}`, {
    body: (_id, marker) => keyValueOf(marker),
    upload: (id, body) => ({
      method: 'PUT',
      path: `/api/cache/keyvalue?${projectOf(id)}`,
      body: Buffer.from(JSON.stringify({ cas_id: id, ...JSON.parse(body.toString()) })),
    }),
    hasPreconditions: false,
  }),
];

/** Paths that would lead to the artifacts of a scope if they were keys. */
export const HOSTILE_PATHS = [
  '/.scopes/main/a/1',
  '/.SCOPES/main/a/1',
  '/.%C5%BFcopes/main/a/1',
  '/%2escopes/main/a/1',
  '/.scopes',
  '/.scopes%2Fmain/a/1',
  '/a/../.scopes/main/a/1',
  '/.sco%E2%80%8Bpes/main/a/1',
];

/** Returns an action result that refers to blobs. `marker` makes it unique. */
export function actionResult(marker: string, blobs: readonly string[]): Buffer {
  const field = (number: number, bytes: Buffer): Buffer => {
    const { length } = bytes;
    const varint = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
    return Buffer.concat([Buffer.from([(number << 3) | 2, ...varint]), bytes]);
  };
  const files = blobs.map((id) => {
    const digest = Buffer.concat([field(1, Buffer.from(digestOf(id))), Buffer.from([2 << 3, blobOf(id).length])]);
    return field(2, Buffer.concat([field(1, Buffer.from('out')), field(2, digest)]));
  });
  // stdout_raw (5)
  return Buffer.concat([...files, field(5, Buffer.from(marker))]);
}
