// `node scripts/image.ts [exchange|coatcheck|test|all] [--architecture amd64|arm64]`: OCI archives in dist/images, without a
// container engine, and the root file systems of what ships in dist/rootfs, for the Dockerfile.
// `ctr -n k8s.io images import` (or podman, skopeo) takes them. Prints name, compressed size and digest.
import { parseArgs } from 'node:util';
import { buildImage, IMAGE_GROUPS, type ImageGroup } from './image/build.ts';
import { ARCHITECTURES, OWN } from './image/platform.ts';

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { architecture: { type: 'string', default: OWN } },
    allowPositionals: true,
  });
  const [wanted = 'all', ...rest] = positionals;
  const architecture = ARCHITECTURES.find((one) => one === values.architecture);
  if (rest.length > 0 || !Object.hasOwn(IMAGE_GROUPS, wanted) || architecture === undefined) {
    const groups = Object.keys(IMAGE_GROUPS).join('|');
    console.error(
      `usage: node scripts/image.ts [${groups}] [--architecture ${ARCHITECTURES.join('|')}]`,
    );
    return 2;
  }
  for (const name of IMAGE_GROUPS[wanted as ImageGroup]) {
    const started = performance.now();
    const withRoot = name === 'coatcheck' || name === 'coatcheck-exchange';
    const image = await buildImage(name, process.env, { architecture, withRoot });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const size = `${(image.compressedBytes / 1_000_000).toFixed(1)} MB compressed`;
    const state = image.isCurrent ? 'current' : 'built  ';
    console.log(
      `${state}  ${image.reference} ${architecture}  ${size}, ${seconds} s, ${image.digest}`,
    );
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
