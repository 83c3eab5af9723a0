import test from 'ava';
import { CheckedGrant } from '../../src/access/grant.js';
import { operatorGrant } from '../../src/access/operator-grant.js';

const grantOf = (overwrite?: boolean) => new CheckedGrant({ level: 'write', scope: 'main', overwrite });

test('a grant for the pages of operators has no scopes, and says who may not purge', (t) => {
  t.is(operatorGrant({ grant: new CheckedGrant({ level: 'read' }), isNamed: false, hasScopes: true }), 'read');
  t.is(operatorGrant({ grant: grantOf(), isNamed: false, hasScopes: false }), 'write');
  const cases = [
    [grantOf(), false, true, false],
    [grantOf(), true, true, true],
    [grantOf(), true, false, true],
    [grantOf(false), true, true, false],
    [grantOf(false), false, false, false],
    [grantOf(true), false, true, true],
  ] as const;
  for (const [grant, isNamed, hasScopes, overwrite] of cases) {
    const operator = operatorGrant({ grant, isNamed, hasScopes });
    t.like(operator, { level: 'write', overwrite, isUnscoped: true });
  }
});
