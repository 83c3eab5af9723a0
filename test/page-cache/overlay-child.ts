import { statSync } from 'node:fs';
import { loadBindings } from '../../src/page-cache/bindings.js';
import { createPageCacheInspector } from '../../src/page-cache/cached-pages.js';
import { evict, lockInPageCache } from '../helpers/page-cache.js';

/** Prints the cached pages of a file before and after its eviction through its path in the lower file system. */

const [path = '', lowerPath = ''] = process.argv.slice(2);
const { cachedPages } = createPageCacheInspector(loadBindings());
const unlock = lockInPageCache(lowerPath, 0, statSync(lowerPath).size);
const before = await cachedPages(path);
unlock();
evict(lowerPath);
process.stdout.write(JSON.stringify([before, await cachedPages(path)]));
