import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import type { Store } from '../../contract/store.js';

const NOTHING: PurgeResult = { artifacts: 0, bytes: 0 };

/**
 * Purges the remote store if it has `purge`, then the local one. In this order, the local store does not fetch again what it has
 * deleted. The result and the progress are the sums for both.
 */
export async function purgeBoth(
  remote: Pick<Store, 'purge'>,
  local: Required<Pick<Store, 'purge'>>,
  filter: PurgeFilter,
  options: PurgeOptions,
): Promise<PurgeResult> {
  let scanned = 0;
  const inRemote =
    (await remote.purge?.(filter, {
      ...options,
      onProgress: (progress) => {
        scanned = progress.scanned;
        options.onProgress?.(progress);
      },
    })) ?? NOTHING;
  const add = ({ artifacts, bytes }: PurgeResult): PurgeResult => ({
    artifacts: inRemote.artifacts + artifacts,
    bytes: inRemote.bytes + bytes,
  });
  const inLocal = await local.purge(filter, {
    ...options,
    onProgress: (progress) => options.onProgress?.({ ...add(progress), scanned: scanned + progress.scanned }),
  });
  return add(inLocal);
}
