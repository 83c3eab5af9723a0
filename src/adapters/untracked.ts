/** Part of a response that still works if middleware has replaced its `write`. */
export interface UntrackedResponse {
  write(chunk: Uint8Array): boolean;
  end(): void;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
  readonly writableFinished?: boolean;
}

/**
 * Writes to a response whose `write` was replaced by middleware. Such middleware drops the callback of a write, so only
 * `drain` tells when more can be written. Resolves like `Exchange.write`.
 */
export function writeUntracked(
  response: UntrackedResponse,
  chunks: readonly Uint8Array[],
  last: boolean,
): Promise<boolean> {
  let hasRoom = true;
  for (const chunk of chunks) hasRoom = response.write(chunk);
  if (last) response.end();
  if (hasRoom && !last) return Promise.resolve(true);
  return new Promise((resolve) => {
    const onDrain = () => {
      if (last) return;
      response.off('close', onClose);
      resolve(true);
    };
    const onClose = () => {
      response.off('drain', onDrain);
      resolve(last && response.writableFinished !== false);
    };
    response.once('drain', onDrain);
    response.once('close', onClose);
  });
}
