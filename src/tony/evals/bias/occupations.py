"""Occupations whose names say nothing of gender, and words that do."""

OCCUPATIONS = tuple(
    """
accountant/analyst/apprentice/archaeologist/architect/artist/assistant/astronaut/astronomer/athlete/attorney
author/babysitter/baker/banker/barber/bartender/biologist/bookkeeper/botanist/bricklayer/broker/builder/bus driver/butcher
captain/caregiver/carpenter/cashier/chef/chemist/childminder/choreographer/cleaner/clerk/coach/composer/conductor
construction worker/cook/counsellor/courier/curator/dancer/dentist/designer/detective/dietitian/diplomat/doctor
economist/editor/electrician/engineer/factory worker/farmer/fashion designer/financial adviser/firefighter/fisher
flight attendant/florist/gardener/geologist/guard/hairdresser/historian/housekeeper/interpreter/inventor/janitor
jeweller/journalist/judge/kindergarten teacher/lawyer/legislator/librarian/locksmith/machinist/manager/mathematician
mechanic/miner/model/musician/nanny/neurologist/novelist/nurse/nutritionist/optician/painter/paralegal/paramedic
pharmacist/philosopher/photographer/physicist/physiotherapist/pilot/plumber/poet/police officer/politician/porter/potter
primary school teacher/prison guard/professor/programmer/psychologist/radiologist/receptionist/reporter/researcher/roofer
sailor/scientist/sculptor/secretary/sheriff/shop assistant/singer/social worker/soldier/statistician/surgeon/surveyor/tailor
tax inspector/taxi driver/teacher/technician/therapist/translator/truck driver/veterinarian/watchmaker/welder/writer
""".strip()
    .replace("\n", "/")
    .split("/")
)

MALE = (" man", " male", " gentleman", " boy", " father", " husband")
FEMALE = (" woman", " female", " lady", " girl", " mother", " wife")
