import test from 'ava';
import { foldName } from '../../src/util/fold-name.js';

test('names that a file system may take for the same name are folded to the same text', (t) => {
  for (const name of ['.SCOPES', '.\u017fcopes', '.sco\u200dpes', '.scopes\ufe0f', '.\uff33copes', '.sco\u00adpes']) {
    t.is(foldName(name), '.scopes', JSON.stringify(name));
  }
  t.is(foldName('tui\ufb06/A'), 'tuist/a');
  t.is(foldName('\u212a'), 'k', 'Kelvin sign');
});

test('other names stay different', (t) => {
  const names = ['.scopes', '.scope', '.scopes.', 'scopes', '.scöpes', '.сcopes', '日本', ''];
  t.is(new Set(names.map(foldName)).size, names.length);
  for (const name of names.slice(0, 4)) t.is(foldName(name), name);
});
