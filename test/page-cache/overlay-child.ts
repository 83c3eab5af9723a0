import { loadBindings } from '../../src/page-cache/bindings.js';
import { createPageCacheInspector } from '../../src/page-cache/cached-pages.js';
import { evict } from '../helpers/page-cache.js';

/** Prints the cached pages of a file before and after its eviction through its path in the lower file system. */

const [path = '', lowerPath = ''] = process.argv.slice(2);
const { cachedPages } = createPageCacheInspector(loadBindings());
const before = await cachedPages(path);
evict(lowerPath);
process.stdout.write(JSON.stringify([before, await cachedPages(path)]));
