// `coatcheck explain pod`: what the broker decided about a pod lately, and what it would decide about the same requests
// now. How a decision is told is the broker's, and comes in from cli/commands.ts.
import type { PodExplained } from '../../../common/protocol/admin-api.ts';
import { optional, SettingsError, text } from '../../../common/settings.ts';
import { defineApiCommand } from '../../api-command.ts';
import { toNeeds } from '../../needs.ts';
import { toPlainText } from '../../plain-text.ts';

/** A decision record as lines of text. */
export type FormatRecord = (record: unknown) => string;

export function createCommand(loadFormat: () => Promise<FormatRecord>) {
  return defineApiCommand({
    name: 'explain pod',
    describe: 'what was decided about a running pod, and what would be now, rule by rule',
    usage: 'NAMESPACE/NAME',
    about: `Asks the broker for its last decisions about a pod, and what it would decide about the same requests with the roles of
this moment. Nothing is issued. Without a broker, from a token and files: coatcheck explain --token-file.

  coatcheck explain pod shop/checkout-6d5f8-x2x9p

Exit code 0 where everything that was asked for would be allowed now, else 1.`,
    needs: toNeeds('decisions', 'list'),
    operands: { min: 1, max: 1 },
    table: {
      cluster: optional(
        text({ flagOnly: true, doc: "Cluster of the pod; the broker's own otherwise" }),
      ),
    },
    run: async ({ client, operands: [operand = ''], settings: { cluster }, print }) => {
      const { namespace, pod } = parsePod(operand);
      const explained = await client.send<PodExplained>({
        method: 'GET',
        path: ['decisions', 'explain'],
        query: { namespace, pod, cluster },
      });
      const format = await loadFormat();
      await print(explained, () => describe(explained, format));
      const { past, now } = explained;
      const decisions = now.length > 0 ? now : past.slice(0, 1);
      return decisions.length > 0 && decisions.every(isAllowed) ? 0 : 1;
    },
  });
}

function parsePod(operand: string): { namespace: string; pod: string } {
  const [, namespace, pod] = /^([^/]+)\/([^/]+)$/.exec(operand) ?? [];
  if (namespace === undefined || pod === undefined)
    throw new SettingsError(['it takes NAMESPACE/NAME of a pod']);
  return { namespace, pod };
}

function isAllowed(record: unknown): boolean {
  return (record as { outcome?: unknown }).outcome === 'allow';
}

function describe({ past, now }: PodExplained, format: FormatRecord): string {
  if (past.length === 0 && now.length === 0)
    return 'The broker remembers no decision about this pod: its exchange has not come here, or long ago.\n';
  const toText = (records: readonly unknown[]) =>
    records.map((record) => format(record).split('\n').map(toPlainText).join('\n')).join('\n');
  const sections = [
    ...(now.length > 0 ? [`Now it would be\n\n${toText(now)}`] : []),
    ...(past.length > 0 ? [`Decided before, newest first\n\n${toText(past)}`] : []),
  ];
  return sections.join('\n');
}
