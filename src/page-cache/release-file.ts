/** Object that keeps files open, or remembers that they exist. */
export interface FileHolder {
  /** See {@link releaseFile}. Returns undefined if there is nothing to wait for. */
  releaseFile(path: string): Promise<void> | undefined;
  /** See {@link releaseDeletedFiles}. */
  releaseDeletedFiles?(): Promise<void>;
}

/**
 * Holders of this process. `OpenFiles` is in the set only while a file is open; all others until they are closed. The writer of a
 * shared store is one, and makes the other processes close the file.
 */
export const holders = new Set<FileHolder>();

/**
 * Makes all handlers and senders of this process close and unmap a file that was just unlinked or replaced, so that its
 * disk space is free and requests that start later do not get it. In the writer of a shared store, the other processes do
 * the same, and each of them is waited for at most one second. Resolves when that is done. If a response is sending
 * the file, it is not waited for: the file is closed and unmapped with its last response.
 *
 * For stores that unlink or replace files. Without it, a handler finds out after about one second.
 *
 * @param path path of the file as in its artifact
 */
export async function releaseFile(path: string): Promise<void> {
  for (const holder of holders) await holder.releaseFile(path);
}

/**
 * Like {@link releaseFile}, for every idle file that has no name left in its file system, whichever process deleted it.
 * Costs a system call for each idle file: for a store whose disk is full, before it refuses an upload.
 */
export async function releaseDeletedFiles(): Promise<void> {
  for (const holder of holders) await holder.releaseDeletedFiles?.();
}
