/**
 * Tests whose outcomes are the tables of docs/faults.md. Each test returns its outcome in words, and fails if the page says
 * otherwise. With UPDATE_FAULTS=1 the tests write the page.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { ExecutionContext, TestFn } from 'ava';
import { type Requirement, testWith } from '../helpers/peers.js';

const PAGE = new URL('../../docs/faults.md', import.meta.url);

export interface FaultTable {
  /**
   * Declares a test of one fault. `conditions` are the cells before the last one, and the title of the test. `run` returns
   * the last cell: the outcome, without anything that differs from run to run.
   * If one of `requirements` is missing, the test is skipped, and its row is not compared.
   */
  fault(
    conditions: readonly string[],
    run: (t: ExecutionContext) => Promise<string>,
    ...requirements: readonly Requirement[]
  ): void;
}

/** Returns the table below the heading `title`. Each test file has one. Its tests run serially, or concurrently with `atOnce`. */
export function faultTable(
  test: TestFn,
  title: string,
  columns: readonly string[],
  { atOnce = false }: { readonly atOnce?: boolean } = {},
): FaultTable {
  const cases: string[][] = [];
  const outcomes = new Map<string, string>();
  test.after('the page has the outcomes of this run', async (t) => {
    const found = cases.map((cells) => rowOf([...cells, outcomes.get(cells.join(', ')) ?? '']));
    const page = await readFile(PAGE, 'utf8');
    const { start, table } = tableBelow(page, title);
    // A run of some of the tests does not change the rows of the others.
    const isComplete = outcomes.size === cases.length;
    if (process.env.UPDATE_FAULTS === '1' && isComplete) {
      const head = [rowOf([...columns, 'outcome']), rowOf([...columns, ''].map(() => '---'))];
      const written = `${[...head, ...found].join('\n')}\n`;
      await writeFile(PAGE, page.slice(0, start) + written + page.slice(start + table.length));
      t.pass();
      return;
    }
    const written = table.trim().split('\n').slice(2);
    if (isComplete) t.deepEqual(written, found);
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

/** Returns the table below a heading of the page, and its offset: another section may have the same text. */
function tableBelow(page: string, title: string): { readonly start: number; readonly table: string } {
  const heading = `^## ${title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}\n(?:(?!\\||## ).*\n)*`;
  const [all, table] = new RegExp(`${heading}((?:\\|.*\n)+)`, 'm').exec(page) ?? [];
  if (all === undefined || table === undefined) throw new Error(`docs/faults.md has no table below "## ${title}"`);
  return { start: page.indexOf(all) + all.length - table.length, table };
}
