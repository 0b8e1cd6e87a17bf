// `node scripts/image.ts [exchange|coatcheck|test|all]`: OCI archives in dist/images, without a container engine.
// `ctr -n k8s.io images import` (or podman, skopeo) takes them. Prints name, compressed size and digest.
import { buildImage, IMAGE_GROUPS, type ImageGroup } from './image/build.ts';

async function main([wanted = 'all', ...rest]: readonly string[]): Promise<number> {
  if (rest.length > 0 || !Object.hasOwn(IMAGE_GROUPS, wanted)) {
    console.error(`usage: node scripts/image.ts [${Object.keys(IMAGE_GROUPS).join('|')}]`);
    return 2;
  }
  for (const name of IMAGE_GROUPS[wanted as ImageGroup]) {
    const started = performance.now();
    const image = await buildImage(name, process.env);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const size = `${(image.compressedBytes / 1_000_000).toFixed(1)} MB compressed`;
    const state = image.isCurrent ? 'current' : 'built  ';
    console.log(`${state}  ${image.reference}  ${size}, ${seconds} s, ${image.digest}`);
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
