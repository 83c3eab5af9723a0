import type { Scope } from './scope.js';

/** What names an upload in parts: clients send nothing else with a part. */
export interface UploadId {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /** Whose it is, so that access can be checked before anything is looked up. The upload itself says whether that is true. */
  readonly scope: Scope;
}

/** As clients get it, and as they send it. */
export function encodeUploadId({ id, scope }: UploadId): string {
  return `${id}.${Buffer.from(scope).toString('base64url')}`;
}

/** Undefined for what cannot have been encoded here. */
export function parseUploadId(text: string): UploadId | undefined {
  const [, id, encoded] = /^([0-9a-f]{32})\.([\w-]+)$/.exec(text) ?? [];
  if (id === undefined || encoded === undefined) return undefined;
  return { id, scope: Buffer.from(encoded, 'base64url').toString() };
}
