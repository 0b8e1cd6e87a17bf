// The conformance suite over every database there is.
import { BACKENDS } from './backends.ts';
import { describeStore } from './conformance.ts';

for (const backend of BACKENDS) describeStore(backend);
