import { behaviour } from '../behaviour.js';

behaviour('connect-http');
behaviour('connect-h2');
