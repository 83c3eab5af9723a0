import { buffer } from 'node:stream/consumers';
import { upstreamStore } from '../../../src/stores/upstream/store.js';

/** Downloads `a` and prints it. The test checks that the process then ends although the connection is open. */
const [url = '', options = '{}'] = process.argv.slice(2);
const store = upstreamStore(url, JSON.parse(options));
const artifact = await store.get('a');
if (artifact === undefined) throw new Error('expected an artifact, received undefined');
process.stdout.write(await buffer(await artifact.open(undefined, { signal: new AbortController().signal })));
