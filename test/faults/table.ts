/**
 * Faults, and what came of them, as a page for users: each case returns its outcome in words, and the table of the page is
 * what the run has found. A run that finds something else fails; with UPDATE_FAULTS=1 it writes the page.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { ExecutionContext, TestFn } from 'ava';
import { type Requirement, testWith } from '../helpers/peers.js';

const PAGE = new URL('../../docs/faults.md', import.meta.url);

export interface FaultTable {
  /**
   * A test of one fault. `conditions` are the cells before the last, in the order of the table's columns; together they are
   * the test's title. `run` returns the last cell: what it has seen, without anything that differs from run to run.
   * If one of `requirements` is missing, the test is skipped, and its row is not compared.
   */
  fault(
    conditions: readonly string[],
    run: (t: ExecutionContext) => Promise<string>,
    ...requirements: readonly Requirement[]
  ): void;
}

/** The table that stands below the heading `title`. One for each file of tests, which run one after the other, or `atOnce`. */
export function faultTable(
  test: TestFn,
  title: string,
  columns: readonly string[],
  { atOnce = false }: { readonly atOnce?: boolean } = {},
): FaultTable {
  const cases: string[][] = [];
  const outcomes = new Map<string, string>();
  test.after('the page says what came of it', async (t) => {
    const found = cases.map((cells) => rowOf([...cells, outcomes.get(cells.join(', ')) ?? '']));
    const page = await readFile(PAGE, 'utf8');
    const { start, table } = tableBelow(page, title);
    // A run of some of the cases says nothing of the others.
    const isWhole = outcomes.size === cases.length;
    if (process.env.UPDATE_FAULTS === '1' && isWhole) {
      const head = [rowOf([...columns, 'outcome']), rowOf([...columns, ''].map(() => '---'))];
      const written = `${[...head, ...found].join('\n')}\n`;
      await writeFile(PAGE, page.slice(0, start) + written + page.slice(start + table.length));
      t.pass();
      return;
    }
    const written = table.trim().split('\n').slice(2);
    if (isWhole) t.deepEqual(written, found);
    else for (const row of found.filter((row) => !row.endsWith('|  |'))) t.true(written.includes(row), row);
  });
  return {
    fault(conditions, run, ...requirements) {
      const name = conditions.join(', ');
      cases.push([...conditions]);
      const declare = atOnce ? test : test.serial;
      testWith(declare, ...requirements)(name, async (t) => {
        outcomes.set(name, await run(t));
        t.pass();
      });
    },
  };
}

function rowOf(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** The table below a heading of the page, and where it begins: other sections may have the same one, while it is empty. */
function tableBelow(page: string, title: string): { readonly start: number; readonly table: string } {
  const heading = `^## ${title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}\n(?:(?!\\||## ).*\n)*`;
  const [all, table] = new RegExp(`${heading}((?:\\|.*\n)+)`, 'm').exec(page) ?? [];
  if (all === undefined || table === undefined) throw new Error(`docs/faults.md has no table below "## ${title}"`);
  return { start: page.indexOf(all) + all.length - table.length, table };
}
