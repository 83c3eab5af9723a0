import type { Project } from './project.js';

/** Id of an upload in parts. With a part, a client sends this id instead of the tenant and the namespace. */
export interface UploadId {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /**
   * Project according to the client. It is used for the access check, before the upload is looked up. The caller then
   * compares it with the project of the stored upload.
   */
  readonly project: Project;
}

/** Returns the id in the form that clients receive and send. */
export function encodeUploadId({ id, project }: UploadId): string {
  return `${id}.${Buffer.from(project).toString('base64url')}`;
}

/** Parses an id that a client sent. Returns `undefined` for text that {@link encodeUploadId} cannot have returned. */
export function parseUploadId(text: string): UploadId | undefined {
  const [, id, encoded] = /^([0-9a-f]{32})\.([\w-]+)$/.exec(text) ?? [];
  if (id === undefined || encoded === undefined) return undefined;
  return { id, project: Buffer.from(encoded, 'base64url').toString() };
}
