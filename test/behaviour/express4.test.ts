import { hostBehaviour } from './behaviour.js';

hostBehaviour('express4-http');
