// Many renderings of the chart by one helm: a chart around it that has it once for every set of values, under an alias each.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { CHART, runHelm } from './helm.ts';

/**
 * What each set of values renders to, as text; with what `helm test` makes.
 * @throws Error with helm's words where one of them is refused.
 */
export function renderBatch(sets: readonly object[]): readonly string[] {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-charts-'));
  const aliases = sets.map((_, index) => `v${index}-`);
  try {
    const { version, appVersion } = parse(readFileSync(path.join(CHART, 'Chart.yaml'), 'utf8')) as {
      version: string;
      appVersion: string;
    };
    const dependencies = aliases.map((alias) => ({ name: 'coatcheck', version, alias }));
    writeFileSync(
      path.join(folder, 'Chart.yaml'),
      JSON.stringify({ apiVersion: 'v2', name: 'around', version, appVersion, dependencies }),
    );
    mkdirSync(path.join(folder, 'charts'));
    cpSync(CHART, path.join(folder, 'charts/coatcheck'), { recursive: true });
    const values = Object.fromEntries(sets.map((set, index) => [aliases[index], set]));
    const args = ['template', 'coatcheck', folder, '-n', 'auth', '--kube-version', '1.34.0'];
    const { code, stdout, stderr } = runHelm([...args, '-f', '-'], values);
    if (code !== 0) throw new Error(`helm template: ${stderr}`);
    return split(stdout, aliases);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function split(text: string, aliases: readonly string[]): readonly string[] {
  const found = new Map(aliases.map((alias) => [alias, [] as string[]]));
  for (const document of text.split(/^---\n/m)) {
    const [, alias = ''] = /^# Source: around\/charts\/([^/]+)\//.exec(document) ?? [];
    // The alias is the chart's name where a template asks for it.
    found.get(alias)?.push(document.replaceAll(alias, 'coatcheck'));
  }
  return aliases.map((alias) => (found.get(alias) ?? []).join('---\n'));
}
