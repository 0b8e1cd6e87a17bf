// The table of commands: every one has a whole help text, hints for misspelt words, and a place in the completions.
import { execFileSync } from 'node:child_process';
import { expect } from 'chai';
import { createCommand } from '../../cli/commands/completion.ts';
import { COMMANDS, renderHelp } from '../../cli/commands.ts';
import { dispatch } from '../../cli/dispatch.ts';
import type { Entry } from '../../cli/entry.ts';

interface Named {
  readonly words: readonly string[];
  readonly entry: Entry;
}

function listAll(entries: readonly Entry[], above: readonly string[] = []): readonly Named[] {
  return entries.flatMap((entry) => {
    const words = [...above, entry.name];
    return [{ words, entry }, ...listAll(entry.verbs ?? [], words)];
  });
}

const ALL = listAll(COMMANDS);
const go = (...args: string[]) => dispatch(COMMANDS, args, renderHelp);

async function getHelp(...words: readonly string[]): Promise<string> {
  const wanted = await go(...words, '--help');
  if (wanted.kind !== 'help') throw new Error(`${words.join(' ')} --help is no help`);
  return wanted.text;
}

describe('the table of commands', () => {
  it('has every command of the contract that there is by now', () => {
    const names = ALL.map(({ words }) => words.join(' '));
    expect(names).to.include.members([
      'webhook',
      'exchange',
      'broker',
      'dev',
      'inject',
      'lint',
      'render',
      'explain',
      'explain pod',
      'version',
      'completion',
      'doctor',
      'whoami',
      'role lint',
      'role test',
      'role get',
      'role list',
      'role apply',
      'role delete',
      'cluster list',
      'cluster get',
      'cluster apply',
      'cluster delete',
      'token create',
      'token list',
      'token show',
      'token revoke',
      'keys list',
      'keys rotate',
      'keys rewrap',
      'client create',
      'client list',
      'client show',
      'client delete',
      'client rotate-secret',
    ]);
    expect(new Set(names).size).to.equal(names.length);
  });

  for (const { words, entry } of ALL) {
    const name = words.join(' ');
    it(`tells all there is to know about ${name}`, async () => {
      const help = await getHelp(...words);
      expect(help.endsWith('\n')).to.equal(true);
      expect(help).to.match(new RegExp(`^coatcheck ${name}`));
      // Flags are as long as they are; what is read from beginning to end is not.
      const prose = help.split('\n').filter((line) => !/^ {2,}-|^ {8}/.test(line));
      expect(prose.filter((line) => line.length > 140)).to.deep.equal([]);
      if (entry.load) {
        const command = await entry.load();
        expect(command.describe.length).to.be.within(10, 100);
        if (!entry.verbs) expect(help).to.equal(command.help());
      } else for (const verb of entry.verbs ?? []) expect(help).to.contain(`  ${verb.name} `);
    });
  }

  for (const { words } of ALL.filter(
    ({ words, entry }) =>
      entry.load &&
      ['role', 'cluster', 'token', 'keys', 'client', 'whoami'].includes(words[0] ?? '') &&
      !['lint', 'test'].includes(words[1] ?? ''),
  )) {
    it(`gives an example of ${words.join(' ')}, its exit codes and its flags`, async () => {
      const help = await getHelp(...words);
      expect(help).to.match(new RegExp(`^  (.*\\| )?coatcheck ${words.join(' ')}`, 'm'));
      expect(help).to.contain('Exit codes: 0 ');
      expect(help).to.match(/\n(Flags\n)? {2}-/);
    });
  }

  it('shows the whole list without a command, as a mistake', async () => {
    expect(await go()).to.deep.equal({ kind: 'wrong', problem: renderHelp() });
    expect(await go('--help')).to.deep.equal({ kind: 'help', text: renderHelp() });
    for (const { name, describe } of COMMANDS)
      expect(renderHelp()).to.contain(`${name.padEnd(10)} ${describe}`);
  });

  it('takes help before the words as well as after', async () => {
    expect(await go('help', 'token', 'create')).to.deep.equal(
      await go('token', 'create', '--help'),
    );
    expect(await go('help', 'token')).to.deep.equal(await go('token', '-h'));
  });

  const hints: readonly { typed: readonly string[]; says: string }[] = [
    { typed: ['rol'], says: 'did you mean role?' },
    { typed: ['tokens', 'list'], says: 'did you mean token?' },
    {
      typed: ['token', 'revok', 'x'],
      says: 'coatcheck token: there is no command of this name; did you mean revoke?',
    },
    { typed: ['keys', 'rotat'], says: 'did you mean rotate?' },
    { typed: ['client', 'rotate'], says: 'See: coatcheck client --help' },
    { typed: ['help', 'tokn'], says: 'did you mean token?' },
  ];
  for (const { typed, says } of hints) {
    it(`hints at what "${typed.join(' ')}" may have meant`, async () => {
      const wanted = await go(...typed);
      expect(wanted.kind).to.equal('wrong');
      expect(wanted.kind === 'wrong' && wanted.problem).to.contain(says);
    });
  }

  it('quotes nothing that was typed: it may be a token in the wrong place', async () => {
    const wanted = await go('cc_secretsecretsecretsecretsecret');
    expect(JSON.stringify(wanted)).not.to.contain('secret');
  });
});

describe('completion', () => {
  async function complete(
    shell: string,
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    let stdout = '';
    let stderr = '';
    const code = await createCommand(() => COMMANDS).run([shell], {
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      stdin: () => Promise.resolve(''),
      environment: {},
    });
    return { code, stdout, stderr };
  }

  /** What bash would offer for the words typed, the last of them not finished. */
  function offer(script: string, ...words: readonly string[]): string[] {
    const typed = ['coatcheck', ...words].map((word) => `'${word}'`).join(' ');
    const program = `compopt() { :; }\n${script}\nCOMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _coatcheck; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const text = execFileSync('bash', ['--norc', '-c', program], { encoding: 'utf8' });
    return text.split('\n').filter((word) => word !== '');
  }

  it('offers bash the commands, their verbs and their flags', async () => {
    const { stdout: script, code } = await complete('bash');
    expect(code).to.equal(0);
    expect(offer(script, 'to')).to.deep.equal(['token']);
    expect(offer(script, 'token', 're')).to.deep.equal(['revoke']);
    expect(offer(script, 'token', 'revoke', '--po')).to.deep.equal(['--pod']);
    expect(offer(script, 'token', 'revoke', '--pod', 'a/b', '--y')).to.deep.equal(['--yes']);
    expect(offer(script, 'explain', 'p')).to.deep.equal(['pod']);
    expect(offer(script, 'explain', '--token')).to.deep.equal(['--token-file']);
    expect(offer(script, 'role', 'get', 'some-role', '--out')).to.deep.equal(['--output']);
    expect(offer(script, 'inject', 'file.yaml', '--mount')).to.deep.equal(['--mount-root']);
    expect(offer(script, 'nothing', 'x')).to.deep.equal([]);
  });

  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`has a word for every command in ${shell}`, async () => {
      const { stdout } = await complete(shell);
      for (const { entry, words } of ALL) expect(stdout, words.join(' ')).to.contain(entry.name);
    });
  }

  it('refuses another shell, with a hint', async () => {
    expect(await complete('bahs')).to.include({ code: 2, stdout: '' });
    expect((await complete('bahs')).stderr).to.contain('did you mean bash?');
  });
});
