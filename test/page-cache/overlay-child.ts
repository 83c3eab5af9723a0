import { loadBindings } from '../../src/page-cache/bindings.js';
import { viewPageCache } from '../../src/page-cache/cached-pages.js';
import { evict } from '../helpers/page-cache.js';

/** Says what is seen of a file before and after it has been taken out of the page cache, by its path in the file system below. */

const [path = '', below = ''] = process.argv.slice(2);
const { cachedPages } = viewPageCache(loadBindings());
const hot = await cachedPages(path);
evict(below);
process.stdout.write(JSON.stringify([hot, await cachedPages(path)]));
