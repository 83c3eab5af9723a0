/** Part of a response that still works if middleware has replaced its `write`. */
export interface UntrackedResponse {
  write(chunk: Uint8Array): boolean;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
  readonly writableFinished?: boolean;
}

/**
 * Writes to a response whose `write` was replaced by middleware. Such middleware drops the callback of a write, so only
 * `drain` tells when more can be written. Resolves like `Exchange.write`.
 *
 * @param end ends the response after the chunks; undefined if they are not the last ones
 */
export function writeUntracked(
  response: UntrackedResponse,
  chunks: readonly Uint8Array[],
  end: (() => void) | undefined,
): Promise<boolean> {
  let hasRoom = true;
  for (const chunk of chunks) hasRoom = response.write(chunk);
  if (end !== undefined) end();
  else if (hasRoom) return Promise.resolve(true);
  return new Promise((resolve) => {
    const onDrain = () => {
      if (end !== undefined) return;
      response.off('close', onClose);
      resolve(true);
    };
    const onClose = () => {
      response.off('drain', onDrain);
      resolve(end !== undefined && response.writableFinished !== false);
    };
    response.once('drain', onDrain);
    response.once('close', onClose);
  });
}
