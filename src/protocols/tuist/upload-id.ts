import type { Scope } from './scope.js';

/** Id of an upload in parts. Clients send only this with a part. */
export interface UploadId {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /**
   * Scope of the upload, for the access check before the lookup. The caller compares it with that of the stored upload.
   */
  readonly scope: Scope;
}

/** Returns the text form that clients receive and send. */
export function encodeUploadId({ id, scope }: UploadId): string {
  return `${id}.${Buffer.from(scope).toString('base64url')}`;
}

/** Parses the text form. Returns `undefined` for text that {@link encodeUploadId} cannot have returned. */
export function parseUploadId(text: string): UploadId | undefined {
  const [, id, encoded] = /^([0-9a-f]{32})\.([\w-]+)$/.exec(text) ?? [];
  if (id === undefined || encoded === undefined) return undefined;
  return { id, scope: Buffer.from(encoded, 'base64url').toString() };
}
