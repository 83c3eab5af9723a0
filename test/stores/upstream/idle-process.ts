import { buffer } from 'node:stream/consumers';
import { upstreamStore } from '../../../src/stores/upstream/store.js';

/** Downloads `a` and prints it. Whether it ends then, with its connection open, is what the test looks at. */
const [url = '', options = '{}'] = process.argv.slice(2);
const store = upstreamStore(url, JSON.parse(options));
const { signal } = new AbortController();
const artifact = await store.get('a', { signal });
if (artifact === undefined) throw new Error('a miss');
process.stdout.write(await buffer(await artifact.open(undefined, { signal })));
